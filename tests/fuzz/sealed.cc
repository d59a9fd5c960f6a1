// What comes back to the daemon sealed: records of the store, tickets, session objects. Input: u8 what to do, then
// bytes. Nothing but what was sealed opens, and a session object that opens is read to its end.
#include "daemon/crypto/sealer.h"
#include "daemon/custody/records.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd;
  static const Bytes root(32, 7);
  static const daemon::AesGcmSealer sealer(root, daemon::kSealSessionObject);
  static const daemon::AesGcmSealer other(root, daemon::kSealTicket);
  if (size == 0) return 0;
  const ByteView bytes(data + 1, size - 1);
  const ByteView associated = AsBytes("associated");
  switch (data[0] % 3) {
    case 0: FUZZ_CHECK(!sealer.Open(associated, bytes).ok()); break;
    case 1: {
      auto sealed = sealer.Seal(associated, bytes);
      FUZZ_CHECK(sealed.ok());
      const auto opened = sealer.Open(associated, *sealed);
      FUZZ_CHECK(opened.ok() && *opened == ToBytes(bytes));
      FUZZ_CHECK(!other.Open(associated, *sealed).ok());
      FUZZ_CHECK(!sealer.Open(AsBytes("other"), *sealed).ok());
      (*sealed)[size % sealed->size()] ^= static_cast<std::uint8_t>(1U << (data[0] >> 5));
      FUZZ_CHECK(!sealer.Open(associated, *sealed).ok());
      break;
    }
    default: {
      const auto object = daemon::UnpackObject(bytes);
      if (!object) break;
      const auto again = daemon::UnpackObject(daemon::PackObject(*object));
      FUZZ_CHECK(again.has_value());
      FUZZ_CHECK(again->attributes == object->attributes);
      FUZZ_CHECK(again->handle == object->handle && again->session == object->session);
    }
  }
  return 0;
}
