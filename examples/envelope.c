// Envelope encryption with plain PKCS#11: a file is encrypted under a data key of its own, and the data key, wrapped
// under the customer master key (CMK) "app-master", travels with the file. The CMK never leaves the HSM, and may be
// rotated at any time: files made before still open, through the same code, the same label and the same handle.
//
//   cc -std=c11 -I/usr/include/p11-kit-1 examples/envelope.c -o envelope -ldl
//   envelope encrypt IN OUT      the first run makes the CMK
//   envelope decrypt IN OUT
//
// Environment: P11_MODULE (path of the module), P11_TOKEN (label of the token), P11_PIN. `cmkctl sandbox` sets all
// three.
//
// The file: the magic "CMKDENV1", the length of the wrapped key (4 bytes, big endian), the wrapped key (AES key wrap,
// RFC 3394), then chunks of 1 MiB, each with its own tag (AES-256-GCM). Nonce and associated data of a chunk are made
// of its number and of whether it is the last, so no chunk can be moved, left out or added. A data key is used for one
// file only, so counting from zero never repeats a nonce.
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CKM_AES_KEY_WRAP
#define CKM_AES_KEY_WRAP 0x2109UL  // newer than this header
#endif

enum { kChunkBytes = 1 << 20, kTagBytes = 16, kNonceBytes = 12, kWrappedBytesMax = 256 };
static const char kMagic[8] = "CMKDENV1";
static const char kMasterKey[] = "app-master";

static CK_FUNCTION_LIST* p11;
static unsigned char chunk_in[kChunkBytes + kTagBytes];
static unsigned char chunk_out[kChunkBytes + kTagBytes];
static const char* unfinished;  // the file to remove when we fail

static void Die(const char* what) {
  fprintf(stderr, "envelope: %s\n", what);
  if (unfinished != NULL) remove(unfinished);
  exit(1);
}

// Ends the program when a call was refused. `cmkctl explain` says more about a return value.
static void Check(CK_RV rv, const char* call) {
  if (rv == CKR_OK) return;
  char text[96];
  snprintf(text, sizeof text, "%s: 0x%lx", call, rv);
  Die(text);
}

static const char* Setting(const char* name) {
  const char* value = getenv(name);
  if (value == NULL) Die("P11_MODULE, P11_TOKEN and P11_PIN must be set");
  return value;
}

static void LoadModule(void) {
  void* library = dlopen(Setting("P11_MODULE"), RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) Die(dlerror());
  CK_C_GetFunctionList get_list;
  *(void**)&get_list = dlsym(library, "C_GetFunctionList");
  if (get_list == NULL) Die("the library is no PKCS#11 module");
  Check(get_list(&p11), "C_GetFunctionList");
  Check(p11->C_Initialize(NULL), "C_Initialize");
}

// The slot of the token with this label. Labels are 32 characters, padded with blanks.
static CK_SLOT_ID FindToken(const char* label) {
  CK_SLOT_ID slots[64];
  CK_ULONG count = sizeof slots / sizeof slots[0];
  char padded[32];
  size_t length = strlen(label);
  if (length > sizeof padded) Die("a token's label has 32 characters at most");
  memset(padded, ' ', sizeof padded);
  memcpy(padded, label, length);
  Check(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_TOKEN_INFO info;
    if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, padded, sizeof padded) == 0)
      return slots[i];
  }
  Die("there is no such token; is the daemon running?");
  return 0;
}

static CK_SESSION_HANDLE LogIn(void) {
  CK_SESSION_HANDLE session;
  const char* pin = Setting("P11_PIN");
  CK_SLOT_ID slot = FindToken(Setting("P11_TOKEN"));
  Check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
  Check(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)), "C_Login");
  return session;
}

// Finds the CMK by its label. It is one object whatever the number of its versions.
static int FindMasterKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE* key) {
  CK_OBJECT_CLASS class = CKO_SECRET_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, (void*)kMasterKey, sizeof kMasterKey - 1}};
  CK_ULONG found = 0;
  Check(p11->C_FindObjectsInit(session, wanted, 2), "C_FindObjectsInit");
  Check(p11->C_FindObjects(session, key, 1, &found), "C_FindObjects");
  Check(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  return found == 1;
}

// A key for one purpose: to wrap and unwrap. Naming the mechanism is what lets it rotate in place on a general token,
// too: the integrity check in the wrapped key tells which version made it.
static CK_OBJECT_HANDLE MakeMasterKey(CK_SESSION_HANDLE session) {
  CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ULONG length = 32;
  CK_MECHANISM_TYPE allowed[] = {CKM_AES_KEY_WRAP};
  CK_ATTRIBUTE attributes[] = {
      {CKA_LABEL, (void*)kMasterKey, sizeof kMasterKey - 1},
      {CKA_TOKEN, &yes, sizeof yes},
      {CKA_PRIVATE, &yes, sizeof yes},
      {CKA_SENSITIVE, &yes, sizeof yes},
      {CKA_EXTRACTABLE, &no, sizeof no},
      {CKA_WRAP, &yes, sizeof yes},
      {CKA_UNWRAP, &yes, sizeof yes},
      {CKA_ENCRYPT, &no, sizeof no},
      {CKA_DECRYPT, &no, sizeof no},
      {CKA_VALUE_LEN, &length, sizeof length},
      {CKA_ALLOWED_MECHANISMS, allowed, sizeof allowed},
  };
  CK_OBJECT_HANDLE key;
  Check(p11->C_GenerateKey(session, &mechanism, attributes, sizeof attributes / sizeof attributes[0], &key),
        "C_GenerateKey");
  return key;
}

static CK_OBJECT_HANDLE MakeDataKey(CK_SESSION_HANDLE session) {
  CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ULONG length = 32;
  CK_ATTRIBUTE attributes[] = {
      {CKA_TOKEN, &no, sizeof no},     {CKA_SENSITIVE, &yes, sizeof yes},       {CKA_EXTRACTABLE, &yes, sizeof yes},
      {CKA_ENCRYPT, &yes, sizeof yes}, {CKA_DECRYPT, &yes, sizeof yes},         {CKA_WRAP, &no, sizeof no},
      {CKA_UNWRAP, &no, sizeof no},    {CKA_VALUE_LEN, &length, sizeof length},
  };
  CK_OBJECT_HANDLE key;
  Check(p11->C_GenerateKey(session, &mechanism, attributes, sizeof attributes / sizeof attributes[0], &key),
        "C_GenerateKey");
  return key;
}

static CK_OBJECT_HANDLE UnwrapDataKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE master, unsigned char* wrapped,
                                      CK_ULONG length) {
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
  CK_OBJECT_CLASS class = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ATTRIBUTE attributes[] = {
      {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &no, sizeof no},
      {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},  {CKA_DECRYPT, &yes, sizeof yes},
      {CKA_ENCRYPT, &no, sizeof no},
  };
  CK_OBJECT_HANDLE key;
  Check(p11->C_UnwrapKey(session, &mechanism, master, wrapped, length, attributes,
                         sizeof attributes / sizeof attributes[0], &key),
        "C_UnwrapKey");
  return key;
}

// Encrypts or decrypts one chunk from chunk_in to chunk_out; returns how many bytes came out.
static CK_ULONG TurnChunk(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, int encrypt, unsigned long long number,
                          int last, CK_ULONG length) {
  unsigned char nonce[kNonceBytes] = {0};
  unsigned char context[9];
  for (int i = 0; i < 8; ++i) nonce[kNonceBytes - 1 - i] = context[7 - i] = (unsigned char)(number >> (8 * i));
  context[8] = (unsigned char)last;
  CK_GCM_PARAMS gcm = {nonce, sizeof nonce, 8 * sizeof nonce, context, sizeof context, 8 * kTagBytes};
  CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof gcm};
  CK_ULONG out = sizeof chunk_out;
  if (encrypt) {
    Check(p11->C_EncryptInit(session, &mechanism, key), "C_EncryptInit");
    Check(p11->C_Encrypt(session, chunk_in, length, chunk_out, &out), "C_Encrypt");
  } else {
    Check(p11->C_DecryptInit(session, &mechanism, key), "C_DecryptInit");
    Check(p11->C_Decrypt(session, chunk_in, length, chunk_out, &out), "C_Decrypt");
  }
  return out;
}

static void TurnFile(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, int encrypt, FILE* in, FILE* out) {
  const size_t step = kChunkBytes + (encrypt ? 0 : kTagBytes);
  int last = 0;
  for (unsigned long long number = 0; !last; ++number) {
    size_t length = fread(chunk_in, 1, step, in);
    int next = getc(in);
    if (ferror(in)) Die("cannot read the input");
    last = next == EOF;
    if (!last) ungetc(next, in);
    CK_ULONG made = TurnChunk(session, key, encrypt, number, last, length);
    if (fwrite(chunk_out, 1, made, out) != made) Die("cannot write the output");
  }
}

static void Encrypt(CK_SESSION_HANDLE session, FILE* in, FILE* out) {
  CK_OBJECT_HANDLE master;
  if (!FindMasterKey(session, &master)) master = MakeMasterKey(session);
  CK_OBJECT_HANDLE key = MakeDataKey(session);
  CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
  unsigned char wrapped[kWrappedBytesMax];
  CK_ULONG length = sizeof wrapped;
  Check(p11->C_WrapKey(session, &mechanism, master, key, wrapped, &length), "C_WrapKey");
  const unsigned char prefix[4] = {0, 0, (unsigned char)(length >> 8), (unsigned char)length};
  if (fwrite(kMagic, 1, sizeof kMagic, out) != sizeof kMagic ||
      fwrite(prefix, 1, sizeof prefix, out) != sizeof prefix || fwrite(wrapped, 1, length, out) != length) {
    Die("cannot write the output");
  }
  TurnFile(session, key, 1, in, out);
  Check(p11->C_DestroyObject(session, key), "C_DestroyObject");
}

static void Decrypt(CK_SESSION_HANDLE session, FILE* in, FILE* out) {
  unsigned char head[sizeof kMagic + 4];
  unsigned char wrapped[kWrappedBytesMax];
  if (fread(head, 1, sizeof head, in) != sizeof head || memcmp(head, kMagic, sizeof kMagic) != 0)
    Die("not one of our files");
  const unsigned char* prefix = head + sizeof kMagic;
  size_t length = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
  if (length > sizeof wrapped || fread(wrapped, 1, length, in) != length) Die("the file is damaged");
  CK_OBJECT_HANDLE master;
  if (!FindMasterKey(session, &master)) Die("the token has no key app-master");
  CK_OBJECT_HANDLE key = UnwrapDataKey(session, master, wrapped, length);
  TurnFile(session, key, 0, in, out);
  Check(p11->C_DestroyObject(session, key), "C_DestroyObject");
}

int main(int argc, char** argv) {
  if (argc != 4 || (strcmp(argv[1], "encrypt") != 0 && strcmp(argv[1], "decrypt") != 0)) {
    fprintf(stderr, "usage: envelope encrypt|decrypt IN OUT\n");
    return 2;
  }
  FILE* in = fopen(argv[2], "rb");
  if (in == NULL) Die("cannot open the input");
  LoadModule();
  CK_SESSION_HANDLE session = LogIn();
  FILE* out = fopen(argv[3], "wb");
  if (out == NULL) Die("cannot open the output");
  unfinished = argv[3];
  if (argv[1][0] == 'e') {
    Encrypt(session, in, out);
  } else {
    Decrypt(session, in, out);
  }
  if (fclose(out) != 0) Die("cannot write the output");
  fclose(in);
  p11->C_Finalize(NULL);
  return 0;
}
