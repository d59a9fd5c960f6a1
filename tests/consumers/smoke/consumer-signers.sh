#!/usr/bin/env bash
# Programs that sign or look round: osslsigncode, OpenVPN, strongSwan's pki, OpenDNSSEC's tools, Python's PyKCS11.
. "$(dirname "${BASH_SOURCE[0]}")/smoke_lib.sh"
need pkcs11-tool openssl osslsigncode openvpn pki ods-hsmutil ods-hsmspeed /usr/bin/python3
engine_conf
as_user rsa --keypairgen --key-type rsa:2048 --id 22 --label rsa --usage-sign
step certificate openssl req -new -x509 -engine pkcs11 -keyform engine -key "$(key_uri rsa)" -sha256 -subj /CN=signer \
  -addext extendedKeyUsage=codeSigning,clientAuth -days 2 -out rsa.pem
step certificate-der openssl x509 -in rsa.pem -outform DER -out rsa.der
as_user certificate-kept --write-object rsa.der --type cert --id 22 --label rsa
unset OPENSSL_CONF

# The smallest program for Windows that osslsigncode takes: headers and one section.
/usr/bin/python3 - <<'END'
import struct
image = bytearray(1024)
def put(offset, kind, *values): struct.pack_into("<" + kind, image, offset, *values)
image[0:2] = b"MZ"; put(60, "I", 128); image[128:132] = b"PE\0\0"
put(132, "HHIIIHH", 0x14c, 1, 0, 0, 0, 224, 0x102)
put(152, "H", 0x10b); put(180, "I", 0x400000); put(184, "II", 4096, 512); put(208, "II", 8192, 512); put(244, "I", 16)
image[376:381] = b".text"; put(384, "IIII", 512, 4096, 512, 512)
open("program.exe", "wb").write(image)
END
step osslsigncode osslsigncode sign -pkcs11module "$P11_MODULE" -pkcs11cert "pkcs11:token=$P11_TOKEN;object=rsa;type=cert" \
  -key "$(key_uri rsa)" -pass "$P11_PIN" -in program.exe -out signed.exe
step osslsigncode-verifies osslsigncode verify -CAfile rsa.pem -in signed.exe

step openvpn openvpn --show-pkcs11-ids "$P11_MODULE"
shows openvpn CN=signer

cat >strongswan.conf <<END
pki { load = random openssl pkcs1 pkcs8 pkcs11 pem x509 nonce sha1 sha2 pubkey }
libstrongswan { plugins { pkcs11 { modules { token { path = $P11_MODULE } } } } }
END
export STRONGSWAN_CONF=$work/strongswan.conf
step strongswan bash -c 'pki --self --keyid 22 --type rsa --dn CN=swan --ca >swan.der <<<"$P11_PIN"'
step strongswan-signed openssl x509 -inform DER -in swan.der -noout -subject
shows strongswan-signed swan

cat >hsm.xml <<END
<?xml version="1.0"?>
<Configuration><RepositoryList><Repository name="token"><Module>$P11_MODULE</Module><TokenLabel>$P11_TOKEN</TokenLabel>
<PIN>$P11_PIN</PIN><SkipPublicKey/></Repository></RepositoryList></Configuration>
END
for key in "rsa 2048" "ecdsa 256" "ecdsa 384"; do
  # shellcheck disable=SC2086 # two words
  step "opendnssec-${key// /-}" ods-hsmutil -c hsm.xml generate token $key
done
step opendnssec-list ods-hsmutil -c hsm.xml list token
step opendnssec-signs ods-hsmspeed -c hsm.xml -r token -i 50 -s 2048 -t 4

cat >round.py <<'END'
import os
from PyKCS11 import *
library = PyKCS11Lib()
library.load(os.environ["P11_MODULE"])
slot = [s for s in library.getSlotList(True) if library.getTokenInfo(s).label.strip() == os.environ["P11_TOKEN"]][0]
session = library.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
session.login(os.environ["P11_PIN"])
public, private = session.generateKeyPair(
    [(CKA_CLASS, CKO_PUBLIC_KEY), (CKA_TOKEN, CK_TRUE), (CKA_PRIVATE, CK_FALSE), (CKA_MODULUS_BITS, 2048), (CKA_LABEL, "py"),
     (CKA_PUBLIC_EXPONENT, (1, 0, 1)), (CKA_ENCRYPT, CK_TRUE), (CKA_VERIFY, CK_TRUE), (CKA_WRAP, CK_TRUE)],
    [(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_TOKEN, CK_TRUE), (CKA_PRIVATE, CK_TRUE), (CKA_DECRYPT, CK_TRUE), (CKA_LABEL, "py"),
     (CKA_SIGN, CK_TRUE), (CKA_UNWRAP, CK_TRUE)])
for mechanism in (CKM_SHA1_RSA_PKCS, CKM_SHA256_RSA_PKCS):
    signature = session.sign(private, b"hello", Mechanism(mechanism))
    assert session.verify(public, b"hello", signature, Mechanism(mechanism))
    assert not session.verify(public, b"hallo", signature, Mechanism(mechanism))
pss = RSA_PSS_Mechanism(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32)
assert session.verify(public, b"m", session.sign(private, b"m", pss), pss)
oaep = RSAOAEPMechanism(CKM_SHA_1, CKG_MGF1_SHA1)
assert bytes(session.decrypt(private, session.encrypt(public, b"secret", oaep), oaep)) == b"secret"
key = session.generateKey(
    [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_VALUE_LEN, 32), (CKA_ENCRYPT, CK_TRUE), (CKA_DECRYPT, CK_TRUE),
     (CKA_SENSITIVE, CK_FALSE), (CKA_EXTRACTABLE, CK_TRUE)], MechanismAESGENERATEKEY)
for mechanism in (Mechanism(CKM_AES_CBC_PAD, bytes(16)), AES_GCM_Mechanism(bytes(12), b"aad", 128)):
    assert bytes(session.decrypt(key, session.encrypt(key, b"x" * 100, mechanism), mechanism)) == b"x" * 100
wrapped = session.wrapKey(public, key, oaep)
session.unwrapKey(private, wrapped, [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_DECRYPT, CK_TRUE)], oaep)
assert len(session.findObjects([(CKA_LABEL, "py")])) == 2
for item in session.findObjects(): session.getAttributeValue_fragmented(item, [CKA_CLASS, CKA_LABEL, CKA_MODULUS, CKA_VALUE])
session.destroyObject(public)
session.destroyObject(private)
session.logout()
session.closeSession()
END
step python /usr/bin/python3 round.py
finish consumer-signers
