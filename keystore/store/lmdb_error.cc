// One table from code to kind.
#include "keystore/store/lmdb_error.h"

#include <lmdb.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

namespace cmkd::store {
namespace {

struct CodeRow {
  int code;
  StoreErrorKind kind;
};

constexpr CodeRow kCodes[] = {
    {MDB_MAP_FULL, StoreErrorKind::kFull},
    {MDB_TXN_FULL, StoreErrorKind::kFull},
    {ENOSPC, StoreErrorKind::kFull},
    {EDQUOT, StoreErrorKind::kFull},
    {EFBIG, StoreErrorKind::kFull},
    {MDB_CORRUPTED, StoreErrorKind::kCorrupt},
    {MDB_PAGE_NOTFOUND, StoreErrorKind::kCorrupt},
    {MDB_CURSOR_FULL, StoreErrorKind::kCorrupt},
    {MDB_INVALID, StoreErrorKind::kForeign},
    {MDB_VERSION_MISMATCH, StoreErrorKind::kForeign},
};

StoreErrorKind KindOf(int code) {
  for (const CodeRow& row : kCodes)
    if (row.code == code) return row.kind;
  return StoreErrorKind::kIo;
}

}  // namespace

Failure<StoreError> LmdbFailure(int code, const char* what) {
  return Refuse(KindOf(code), std::string(what) + ": " + ::mdb_strerror(code));
}

Failure<StoreError> SystemFailure(int code, const std::string& what) {
  return Refuse(KindOf(code), what + ": " + std::generic_category().message(code));
}

Failure<StoreError> CorruptFailure(const std::string& what) {
  return Refuse(StoreErrorKind::kCorrupt, what +
                                              ": the store is damaged or was changed by something else; stop using it, "
                                              "keep a copy of it and restore a backup");
}

}  // namespace cmkd::store
