// A data key in one round trip, through the interface "CMKD" of the module: made, opened again, and put under the
// newest version of its key without the program seeing it. What it prints is the key id and version that the ciphertext
// names.
//
//   cc -std=c11 -I/usr/include/p11-kit-1 -Ipkcs11/spec examples/data_key.c -o data_key -ldl
//   (with cmkd installed, -I/usr/include/cmkd in place of -Ipkcs11/spec)
//   data_key KEY                 the label of an AES key that encrypts
//
// Environment: P11_MODULE (path of the module), P11_TOKEN (label of the token), P11_PIN. `cmkctl sandbox` sets all
// three.
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmkd_pkcs11.h"

// The interface list of 3.0, which p11-kit's header may not have.
typedef struct {
  CK_UTF8CHAR_PTR name;
  CK_VOID_PTR functions;
  CK_FLAGS flags;
} Interface;
typedef CK_RV (*GetInterface)(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version, Interface** found, CK_FLAGS flags);

enum { kKeyBytes = 32, kCiphertextBytes = kKeyBytes + CMKD_MANAGED_OVERHEAD };

// Ends the program when a call was refused. `cmkctl explain` says more about a return value.
static void Check(CK_RV rv, const char* call) {
  if (rv == CKR_OK) return;
  fprintf(stderr, "data_key: %s: 0x%lx\n", call, rv);
  exit(1);
}

static const char* Setting(const char* name) {
  const char* value = getenv(name);
  if (value != NULL) return value;
  fprintf(stderr, "data_key: %s must be set\n", name);
  exit(1);
}

static void* Function(void* library, const char* name) {
  void* function = library == NULL ? NULL : dlsym(library, name);
  if (function != NULL) return function;
  fprintf(stderr, "data_key: the module has no %s\n", name);
  exit(1);
}

static CK_SESSION_HANDLE OpenSession(CK_FUNCTION_LIST* p11) {
  char label[33];
  snprintf(label, sizeof label, "%-32s", Setting("P11_TOKEN"));
  CK_SLOT_ID slots[64];
  CK_ULONG count = 64;
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  Check(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
  for (CK_ULONG i = 0; i < count && session == CK_INVALID_HANDLE; ++i) {
    CK_TOKEN_INFO info;
    Check(p11->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
    if (memcmp(info.label, label, sizeof info.label) != 0) continue;
    Check(p11->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &session), "C_OpenSession");
  }
  const char* pin = Setting("P11_PIN");
  Check(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)), "C_Login");
  return session;
}

static CK_OBJECT_HANDLE FindKey(CK_FUNCTION_LIST* p11, CK_SESSION_HANDLE session, char* label) {
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &secret, sizeof secret}, {CKA_LABEL, label, strlen(label)}};
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  CK_ULONG count = 0;
  Check(p11->C_FindObjectsInit(session, wanted, 2), "C_FindObjectsInit");
  Check(p11->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
  Check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  if (count == 1) return key;
  fprintf(stderr, "data_key: there is no key %s\n", label);
  exit(1);
}

// What docs/ciphertext.md says of the header: 16 bytes of key id at 8, four of version at 24.
static void PrintHeader(const unsigned char* ciphertext) {
  for (int i = 8; i < 24; ++i) printf("%02x", ciphertext[i]);
  printf(" version %u\n", (unsigned)ciphertext[26] << 8 | ciphertext[27]);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: data_key KEY\n");
    return 2;
  }
  void* library = dlopen(Setting("P11_MODULE"), RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList get_list;
  GetInterface get_interface;
  *(void**)&get_list = Function(library, "C_GetFunctionList");
  *(void**)&get_interface = Function(library, "C_GetInterface");
  CK_FUNCTION_LIST* p11;
  Check(get_list(&p11), "C_GetFunctionList");
  Check(p11->C_Initialize(NULL), "C_Initialize");
  Interface* interface;
  Check(get_interface((CK_UTF8CHAR_PTR)CMKD_INTERFACE, NULL, &interface, 0), "C_GetInterface");
  CK_CMKD_FUNCTION_LIST* cmkd = interface->functions;

  CK_SESSION_HANDLE session = OpenSession(p11);
  CK_OBJECT_HANDLE key = FindKey(p11, session, argv[1]);
  // {"purpose": "example"} in the canonical form.
  CK_BYTE context[] =
      "\x01\0\x07purpose\0\x07"
      "example";
  CK_CMKD_MANAGED_PARAMS parameters = {context, sizeof context - 1};
  CK_MECHANISM mechanism = {CKM_CMKD_AES_MANAGED, &parameters, sizeof parameters};

  CK_BYTE data_key[kKeyBytes], again[kKeyBytes], ciphertext[kCiphertextBytes], newest[kCiphertextBytes];
  CK_ULONG key_len = sizeof data_key, again_len = sizeof again, len = sizeof ciphertext, newest_len = sizeof newest;
  Check(cmkd->GenerateDataKey(session, &mechanism, key, kKeyBytes, data_key, &key_len, ciphertext, &len),
        "GenerateDataKey");
  PrintHeader(ciphertext);
  Check(cmkd->DecryptManaged(session, &mechanism, CK_INVALID_HANDLE, ciphertext, len, again, &again_len),
        "DecryptManaged");
  Check(cmkd->ReEncrypt(session, &mechanism, CK_INVALID_HANDLE, &mechanism, key, ciphertext, len, newest, &newest_len),
        "ReEncrypt");
  PrintHeader(newest);
  const int same = again_len == key_len && memcmp(data_key, again, key_len) == 0;
  memset(data_key, 0, sizeof data_key);
  memset(again, 0, sizeof again);
  Check(p11->C_Finalize(NULL), "C_Finalize");
  return same ? 0 : 1;
}
