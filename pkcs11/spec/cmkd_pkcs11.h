// What cmkd adds to PKCS#11 for programs that want it, in C and C++: the managed mechanism, whose ciphertexts name the key
// and the version that made them (docs/ciphertext.md has every byte), and data keys in one round trip. Include it after
// the header that declares PKCS#11 itself. No program needs any of this to create, find or use a key.
#pragma once

/* C_EncryptInit and C_DecryptInit with an AES key: AES-GCM under a header that says which key, version and IV; the
 * token makes the IV, and decryption finds the version by the header, however often the key has rotated. The parameter
 * is CK_CMKD_MANAGED_PARAMS, or none for an empty context. At most CMKD_MANAGED_PLAINTEXT_MAX bytes at once (else
 * CKR_DATA_LEN_RANGE); what comes out is CMKD_MANAGED_OVERHEAD bytes longer. A ciphertext of another key, with another
 * context, or changed: CKR_ENCRYPTED_DATA_INVALID. */
#define CKM_CMKD_AES_MANAGED (CKM_VENDOR_DEFINED | 0x434D4B01UL)

#define CMKD_MANAGED_PLAINTEXT_MAX 4096UL
#define CMKD_MANAGED_OVERHEAD 88UL
#define CMKD_CONTEXT_MAX 8192UL

/* The encryption context: bytes that must be the same when decrypting. They are not in the ciphertext, and they are no
 * secret. Any bytes; for names with values, the canonical form of docs/ciphertext.md. */
typedef struct CK_CMKD_MANAGED_PARAMS {
  CK_BYTE_PTR pContext;
  CK_ULONG ulContextLen;
} CK_CMKD_MANAGED_PARAMS;

/* ---- Data keys, one round trip each
 *
 * C_GetInterface((CK_UTF8CHAR_PTR)CMKD_INTERFACE, NULL, &interface, 0) gives a CK_INTERFACE whose pFunctionList is a
 * CK_CMKD_FUNCTION_LIST. Its functions may be called whenever those of PKCS#11 may, from any thread; each needs an open
 * session and a login that may use the key, and is refused with the codes of C_EncryptInit, C_Encrypt, C_DecryptInit
 * and C_Decrypt. They neither begin nor end an operation of the session.
 *
 * `mechanism` is CKM_CMKD_AES_MANAGED with its parameter. Outputs follow the two-call convention of C_Encrypt: all of a
 * call's buffers NULL asks for the lengths (of which that of a private key is the most that it can be); if one is too
 * short the answer is CKR_BUFFER_TOO_SMALL with all lengths, and nothing was made. Some given and some NULL is
 * CKR_ARGUMENTS_BAD. The caller wipes what it gets. Where a key encrypts, CK_INVALID_HANDLE stands for the token's
 * default key, labelled "default", which is made when it is first wanted. */
#define CMKD_INTERFACE "CMKD"

#define CMKD_DATA_KEY_MAX 1024UL

typedef struct CK_CMKD_FUNCTION_LIST {
  CK_VERSION version; /* 1.0; later versions append */

  /* A data key of `bytes` random bytes (1 to CMKD_DATA_KEY_MAX, else CKR_KEY_SIZE_RANGE): as it is, and encrypted under
   * `key`. With plaintext_len NULL it is not handed out: DecryptManaged gives it when it is needed. The token keeps
   * nothing of it. */
  CK_RV (*GenerateDataKey)
  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key, CK_ULONG bytes, CK_BYTE_PTR plaintext,
   CK_ULONG_PTR plaintext_len, CK_BYTE_PTR ciphertext, CK_ULONG_PTR ciphertext_len);

  /* A key pair made by `generator` with these attributes of the public key (CKA_MODULUS_BITS, CKA_EC_PARAMS): the
   * public key as SubjectPublicKeyInfo, the private key as PKCS #8, both DER; the latter as it is unless plaintext_len
   * is NULL, and encrypted. */
  CK_RV (*GenerateDataKeyPair)
  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key, CK_MECHANISM_PTR generator,
   CK_ATTRIBUTE_PTR attributes, CK_ULONG attribute_count, CK_BYTE_PTR public_key, CK_ULONG_PTR public_key_len,
   CK_BYTE_PTR plaintext, CK_ULONG_PTR plaintext_len, CK_BYTE_PTR ciphertext, CK_ULONG_PTR ciphertext_len);

  /* C_EncryptInit and C_Encrypt at once. */
  CK_RV (*EncryptManaged)
  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key, CK_BYTE_PTR plaintext,
   CK_ULONG plaintext_len, CK_BYTE_PTR ciphertext, CK_ULONG_PTR ciphertext_len);

  /* C_DecryptInit and C_Decrypt at once. With CK_INVALID_HANDLE for `key` it is the one that the ciphertext names, if
   * the caller may use it (else CKR_KEY_HANDLE_INVALID). */
  CK_RV (*DecryptManaged)
  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key, CK_BYTE_PTR ciphertext,
   CK_ULONG ciphertext_len, CK_BYTE_PTR plaintext, CK_ULONG_PTR plaintext_len);

  /* What `from_key` (CK_INVALID_HANDLE: the one that the ciphertext names) opens with the context of `from_mechanism`,
   * under the current version of `to_key` with the context of `to_mechanism`. The plaintext stays in the daemon. */
  CK_RV (*ReEncrypt)
  (CK_SESSION_HANDLE session, CK_MECHANISM_PTR from_mechanism, CK_OBJECT_HANDLE from_key, CK_MECHANISM_PTR to_mechanism,
   CK_OBJECT_HANDLE to_key, CK_BYTE_PTR ciphertext, CK_ULONG ciphertext_len, CK_BYTE_PTR new_ciphertext,
   CK_ULONG_PTR new_ciphertext_len);
} CK_CMKD_FUNCTION_LIST;
