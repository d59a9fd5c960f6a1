// The exported functions of libcmkd-firmware-sim.so. Everything else is reached through the lists they hand out.
#include "firmware_sim/image_seal.h"
#include "firmware_sim/target.h"
#include "pkcs11/entry/function_lists.h"

const std::uint64_t cmkd::sim::kImagePolicy = cmkd::sim::kSealedImage;

using Functions = cmkd::entry::LocalFunctions<cmkd::sim::Target>;

extern "C" {

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  return Functions::GetFunctionList(list);
}

__attribute__((visibility("default"))) CK_RV C_GetInterfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count) {
  return Functions::GetInterfaceList(list, count);
}

__attribute__((visibility("default"))) CK_RV C_GetInterface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version,
                                                            CK_INTERFACE_PTR_PTR found, CK_FLAGS flags) {
  return Functions::GetInterface(name, version, found, flags);
}
}
