// Objects without secret material that mechanisms make: the data of CKM_HKDF_DATA, the public half of a private key,
// and domain parameters. The daemon makes them on every device: of a key that the device derives, of what it knows of a
// private key, and of nothing secret at all.
#pragma once

#include "daemon/service/access.h"

namespace cmkd::daemon {

// C_GenerateKey with a row of kDomainGen (PKCS#11 3.2, "DSA domain parameter generation" and its kin): fresh DSA and
// X9.42 parameters; for PKCS #3 the group of RFC 7919 of that size, as SP 800-56A asks for. Errors: those of a
// template; CKR_KEY_SIZE_RANGE for sizes that are not made.
Fallible<CK_OBJECT_HANDLE> GenerateDomain(Invocation& invocation, const spec::MechanismRow& row,
                                          const CK_MECHANISM& mechanism, std::span<const CK_ATTRIBUTE> given);

// CKM_PUB_KEY_FROM_PRIV_KEY: what everybody may know of the key, as an object. It takes no use of the key (its
// CKA_DERIVE does not matter) and asks the device nothing. Errors: those of a template; CKR_TEMPLATE_INCONSISTENT when
// it names other material; CKR_FUNCTION_FAILED when the public half was never told (a key that came without it).
Fallible<CK_OBJECT_HANDLE> PublicFromPrivate(Invocation& invocation, const Object& base,
                                             std::span<const CK_ATTRIBUTE> given);

// CKM_HKDF_DATA: what HKDF gives, for all to read. The same bytes could be a sensitive key, so keys that are sensitive
// or not extractable give no data, as the base key or as the salt. Errors: CKR_TEMPLATE_INCONSISTENT for such keys;
// those of a template and of C_DeriveKey.
Fallible<CK_OBJECT_HANDLE> DeriveData(Invocation& invocation, const spec::MechanismRow& row,
                                      const CK_MECHANISM& mechanism, const Object& base,
                                      std::span<const CK_ATTRIBUTE> given);

}  // namespace cmkd::daemon
