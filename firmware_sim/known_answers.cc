// See known_answers.h.
#include "firmware_sim/known_answers.h"

#include <array>

namespace cmkd::sim {
namespace {

// Hexadecimal digits to bytes, while compiling.
template <std::size_t n>
consteval std::array<std::uint8_t, n / 2> FromHex(const char (&text)[n]) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::array<std::uint8_t, n / 2> bytes{};
  for (std::size_t i = 0; i < n / 2; ++i) {
    bytes[i] = static_cast<std::uint8_t>(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
  }
  return bytes;
}

// PKCS#11's parameter structs point to what they do not change.
template <std::size_t n>
CK_BYTE* Pointer(const std::array<std::uint8_t, n>& bytes) {
  return const_cast<CK_BYTE*>(bytes.data());
}

// NIST SP 800-38A, appendix F: AES-256, first block.
constexpr auto kAesKey = FromHex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
constexpr auto kBlock = FromHex("6bc1bee22e409f96e93d7e117393172a");
constexpr auto kEcbOut = FromHex("f3eed1bdb5d2a03c064b5a7e3db181f8");
constexpr auto kCbcIv = FromHex("000102030405060708090a0b0c0d0e0f");
constexpr auto kCbcOut = FromHex("f58c4c04d6e5f1ba779eabfb5f7bfbd6");
constexpr auto kCtrOut = FromHex("601ec313775789a5b7a7f504bbf3d228");
constexpr CK_AES_CTR_PARAMS kCtr = {
    128, {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff}};

// The same with the padding of RFC 5652 section 6.3; the second block made with OpenSSL's command line.
constexpr auto kCbcPadOut = FromHex("f58c4c04d6e5f1ba779eabfb5f7bfbd6485a5c81519cf378fa36d42b8547edc0");

// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4.
constexpr auto kGcmKey = FromHex("feffe9928665731c6d6a8f9467308308");
constexpr auto kGcmIv = FromHex("cafebabefacedbaddecaf888");
constexpr auto kGcmAad = FromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
constexpr auto kGcmIn = FromHex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
    "b16aedf5aa0de657ba637b39");
constexpr auto kGcmOut = FromHex(
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05"
    "1ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47");

// SP 800-38C example 2 and IEEE 1619 by libgcrypt; RFC 8439 sections 2.4.2 and 2.8.2.
constexpr auto kCcmKey = FromHex("404142434445464748494a4b4c4d4e4f");
constexpr auto kCcmNonce = FromHex("1011121314151617");
constexpr auto kCcmAad = FromHex("000102030405060708090a0b0c0d0e0f");
constexpr auto kCcmIn = FromHex("202122232425262728292a2b2c2d2e2f");
constexpr auto kCcmOut = FromHex("d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd");
constexpr auto kXtsKey = FromHex(
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff43a67b14a4f902be47129f4aadf272ddb456f765d613b528d77"
    "c24af9534e85ae");
constexpr auto kXtsIn = FromHex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a3");
constexpr auto kXtsOut = FromHex("3b5132c8044d46423e63935f0b3c8488c8831cf0f04314d0d39f1706a09e3e045a32279902");
constexpr auto kChachaKey = FromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
constexpr auto kChachaCounter = FromHex("01000000");
constexpr auto kChachaNonce = FromHex("000000000000004a00000000");
constexpr auto kChachaIn = FromHex("4c616469657320616e642047656e746c");
constexpr auto kChachaOut = FromHex("6e2e359a2568f98041ba0728dd0d6981");
constexpr auto kPolyKey = FromHex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
constexpr auto kPolyNonce = FromHex("070000004041424344454647");
constexpr auto kPolyAad = FromHex("50515253c0c1c2c3c4c5c6c7");
constexpr auto kPolyIn = FromHex(
    "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f"
    "6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c6420"
    "62652069742e");
constexpr auto kPolyOut = FromHex(
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e06"
    "0b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d265"
    "86cec64b61161ae10b594f09e26a7e902ecbd0600691");

// RFC 3394 section 4.6; RFC 5649 section 6, seven bytes.
constexpr auto kKwKey = FromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
constexpr auto kKwIn = FromHex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
constexpr auto kKwOut = FromHex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
constexpr auto kKwpKey = FromHex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
constexpr auto kKwpIn = FromHex("466f7250617369");
constexpr auto kKwpOut = FromHex("afbeb0f07dfbf5419200f2ccb50bb24f");

// By libgcrypt, with the key, IV and associated data of GCM's test case 4.
constexpr auto kGmacOut = FromHex("346434fd51d5cd0c5887ec63e39b907a");

// RFC 4493 section 4, example 2.
constexpr auto kCmacKey = FromHex("2b7e151628aed2a6abf7158809cf4f3c");
constexpr auto kCmacOut = FromHex("070a16b46b4d4144f79bdd9dd04a287c");

// RFC 2202 and RFC 4231, test case 1: "Hi There".
constexpr auto kHmacKey = FromHex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
constexpr auto kHmacIn = FromHex("4869205468657265");
constexpr auto kHmac1 = FromHex("b617318655057264e28bc0b6fb378c8ef146be00");
constexpr auto kHmac256 = FromHex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
constexpr auto kHmac512 = FromHex(
    "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4"
    "be9d914eeb61f1702e696c203a126854");

// FIPS 180-4 examples: "abc".
constexpr auto kAbc = FromHex("616263");
constexpr auto kSha1 = FromHex("a9993e364706816aba3e25717850c26c9cd0d89d");
constexpr auto kSha256 = FromHex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
constexpr auto kSha512 = FromHex(
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
    "454d4423643ce80e2a9ac94fa54ca49f");

// A key that is used for nothing else, and what OpenSSL's command line made with it: signatures of "cmkd self-test"
// with SHA-256, the encoded message inside the first one, and encryptions of "0123456789abcdef".
constexpr auto kRsaKey = FromHex(
    "308204bc020100300d06092a864886f70d0101010500048204a6308204a2020100028201010085ff839c82275a89e547106f24906a65d816"
    "25bf4f7df98922dcecd416b14f99af535450666df3b2f73828e041b4056f1694b291ff7683c4685f7e654c5a7631bb83cb120e5aa1d172d9"
    "519f6959155ec831bfb1cc47f6f00e7d7ce8d36ef63af0f11336eaa5faab1af51c465204a1029241e4d1b34c175f0403304c55ae692cd7cf"
    "1cc35c13610036ca0aa60cf186bb55976fde99fc65d19ae620dce36fc13f75b1a4bb235bd2f77955118b748ca2a38722d479f975a6afa8ad"
    "eb1bbb359737b9cbdc6724a3d9c86759b03385691a3b9621b8ef88d654ff532dd8eecda257226aa492e853c7939cf07216e442b42fa38e65"
    "4d5a4e33ce6da521d55597bd5f0102030100010282010009efba0a2140a7d24b2204ebc291c2287468a4d455ee828593040cefce1161ee51"
    "5c30bafe5a49549914ea07dbf76c7bbb5ebbd7f8ebd51d2ecf646773cd02498b038fe53f12d83fd870330de48c972ce4ba507bbc8fa72f83"
    "26c375de0319713c45e765db51032a2ca0f9a5fae29e3054d2f5ad733074b269a45bb0b7043953df15c2fb67fcba832c091701e213a3a5f3"
    "a0d2168e49b14d52bbf217cae1d2ffe989ba63d45c1a059d0d0224ff0d1a2594a5ee6d202192bdfb855497d6792439ef176f6bac16cf6e9b"
    "3cd361994c353451c94694d9e7478022d0b090b6e4188630bb7233dbb841165fc3b8df5c302ba6afdbd8aa2ac721216ad757ec2eb876bd02"
    "818100b99c34104ac858fd5f22438347c48a544920c294146d9ac67150ee75302566ddd646ac52e1af1bb93b913d99ee376bc4492ba3d5ee"
    "53ad4f2631ca3911702d4f71ec8c56f0d2102b31d82c9c8acbd969a0f8300485c89cd786962c56fcfd304fd7706dfbcf8d312394b1dfbc11"
    "7c50a4d34d32351370277578eea87f9f16505f02818100b8d09979911f68d0d2b0a017cf17f8c4aef3e50bb5f9dac2f8ccdaa347888a0eb3"
    "a77d53025ef9d789c98f35ce12e7914fd6999cd6e9fc2e86c19d31c524ab6f030e7eb55c3d50ee18a31ef9aba95a5f52844c9334902b2b75"
    "9c5a5a76df511e21cc6fe36db53cdc73a68f4d6e87083792fa944d4dd40a245ec59e89b4030c9f02818031602651773358c8fe37c531f533"
    "8980e67b3a87ddef524f1bf1e59d7313600bff66898cfad07455904d10d01418d6283f36c6bcb04bbe3ce1f238d3799a17d39c80cacc8dff"
    "b3a169ff11cf0af5337eeffd55f8be0622030ba0836718a1d9ea436b7b36937e01e66f35ea48c3760895f04806e52ba898369dd70f27f410"
    "218d0281801041287e6ca91a8ae33ced97aa7b2d41ff312c3fef6d5e342fb5b4b50fa18ea2e46222bf9e41c42f94cac971ae0233a3b025eb"
    "b4c3a228afdee240751425b97e36029c5a4f16857bab670d5e601eb0f81945d18650e52d26d15d430519d762470829f6dd45d4ded974c27d"
    "700dfc8a5878f0d902438a16aa443b9549ff2f1579028180379b891e5bc36a3eecbc9e25c16db02305a42af9b8771f4fbb80caa677175044"
    "f9b2fd566da3dad61ae1b1461b40513fbf129162f0fcb6e01089fb36d9622fdf9fa030d3bf8e7cc8ef83ae7b1e5f0471b9c9057b21bbad13"
    "a843714b4f80df637771f73d26eb3806e95aab7cc6530dca1fc32a160c53ef0c6c658c4f0b0a3cfe");
constexpr auto kRsaSignature = FromHex(
    "7f5f3d45a9af94cb94f8abd853743b92c09361f60e52f6cd3b906439a0763de9d2eb038775639148066d6a6535b7391d7d045e1f12dfadd7"
    "afadad86e7913569809712b8d669ec4050df909da14d4d72c94a61c5bdde79ea48ca67ceb52965b78876a06745d0807ce9f90445010ba485"
    "cabca46a101aacd09ed8a8ce19b54f0e5d15e560448bbe652b630826fb88daf70f88d91dd82330ca09cfb204f66da36d3d0b5dedb26fe434"
    "8f2737d0f9c214bcce68f4e5b7fa10ee51dec765fd05a33a192c7fb6b51bf16f4fc8a04714a2a50c9007e4f38fdd1aeeb474185728d0e331"
    "dbbc42fc6645ca687fdc1434e9819cc703ead849adbe91ed3b37f6e163e3860c");
constexpr auto kRsaEncoded = FromHex(
    "0001ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff003031300d060960864801650304020105000420"
    "2c129aeac6b4a7b5726684b71ed7988b007e97af894f420c8023c0abab31194d");
constexpr auto kPssSignature = FromHex(
    "05fe96f4ca9203b4fc05753219ac00759e64079e227844aef8e9fc92261ebede8e99b321bab05b1bb9254e37422fb87cf7034b2315e79cfd"
    "4a250008c8b8192126a28008629041df1ea2456b6a8a52de289b502b763e5de405a2f8b130d1c9823efb79f6b9c19cf96da7a59f93ddcbd7"
    "10cdb339d1967b2c9c614cb3dafbc865843faa8bb5c35f7e7d3d71453693b337e0f11e9c42e445f9c9399728cb20a0a6d43346b6457104c2"
    "477f5806ff32275f28a4f1b98e2f7624ee431146ccc0a31f9825d1c5b09186b3d7713bf13354d40e124d6e75234e8f5429e21b005827b02b"
    "83541dbc8621effd35f47f6468ded084c7dc6f27d7e47e4a69d4fcb5032d2eca");
constexpr auto kOaepCiphertext = FromHex(
    "08eb6672587143f5303ebe5ac8f9d59b80558b8d47b893cc5226dcf662b3215bc24c5efadb17ba8d95cf12a39e52e33080e67fe5f6092140"
    "642049d5295e3ed744b5063a43654e9fc9c2e1b68d2d8b1230add386ee5b691dee002da3e5bc502f5617ce00060d780b87dcaeb73d9112b1"
    "c57ffbaf85d423d08c314190ab39d2515f995dd400931b8625d935632ff39ba600551a918e08d304cff0c7c873185dc8057b06d041ef600a"
    "9c83d1e7fbcddd08172134aa20a04e855d7e022b9ba306aa5ed29841cd56978d9b0184962171d9f8fbf04bfed58bf8a640611bdaf31db4e6"
    "fe3a7b40f09e841c98d50227c4589dd7456211634edf64695ec554b462fa5e36");
constexpr auto kPkcs1Ciphertext = FromHex(
    "5af4a62584c151b76153db8bcf475d7a7460bb3e6973ddcabfdd07702876942eac8d51d58704149fa9f80b049c6eb5a413880eba7e325509"
    "4eabed01e1c372c2a70d9daa5ac7f5ce7c5a9d303570b55b77eb0450d2370a2eee516e7f83310f1e0e79973f09e4ee6b5f56ba0090fc3f74"
    "ce806436e785ee557765899a785b55333312281cb029a8529e2b02e76dc31dc825cc185037fef147ade6f2a1f2000cd602b5416396250fdb"
    "2f6ecd8ccd134369c1d631e821530cd8d5afef1640752c92a294a7a672c715321a85b745d0600479e17e1da9762b4fca03737c23ce5c3553"
    "a420974d5dc203a83b3a6c70617edce736afe78a281d4e3bf559e7104fd5238b");
constexpr auto kRsaMessage = FromHex("636d6b642073656c662d74657374");
constexpr auto kRsaPlain = FromHex("30313233343536373839616263646566");
constexpr CK_RSA_PKCS_PSS_PARAMS kPss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
constexpr CK_RSA_PKCS_OAEP_PARAMS kOaep = {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};

// RFC 6979 appendix A.2.5: P-256, SHA-256, "sample", with the private key in PKCS #8.
constexpr auto kEcKey = FromHex(
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"
    "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
    "a14403420004"
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
constexpr auto kEcMessage = FromHex("73616d706c65");
constexpr auto kEcdsaOut = FromHex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");

// RFC 8032 section 7.1, test 2.
constexpr auto kEdKey =
    FromHex("302e020100300506032b6570042204204ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
constexpr auto kEdMessage = FromHex("72");
constexpr auto kEdOut = FromHex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");

// RFC 7748 section 6.1.
constexpr auto kXKey =
    FromHex("302e020100300506032b656e0422042077076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
constexpr auto kXPeer = FromHex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
constexpr auto kXOut = FromHex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");

const CK_GCM_PARAMS kGcm = {Pointer(kGcmIv), kGcmIv.size(), kGcmIv.size() * 8, Pointer(kGcmAad), kGcmAad.size(), 128};
const CK_GCM_PARAMS kGmac = {Pointer(kGcmIv), kGcmIv.size(), kGcmIv.size() * 8, nullptr, 0, 128};
const CK_CCM_PARAMS kCcm = {16, Pointer(kCcmNonce), kCcmNonce.size(), Pointer(kCcmAad), kCcmAad.size(), 6};
const CK_CHACHA20_PARAMS kChacha = {Pointer(kChachaCounter), 32, Pointer(kChachaNonce), 96};
const CK_SALSA20_CHACHA20_POLY1305_PARAMS kPoly = {Pointer(kPolyNonce), 96, Pointer(kPolyAad), kPolyAad.size()};
const CK_ECDH1_DERIVE_PARAMS kX25519 = {CKD_NULL, 0, nullptr, kXPeer.size(), Pointer(kXPeer)};

constexpr CK_OBJECT_CLASS kSecret = CKO_SECRET_KEY;
constexpr CK_OBJECT_CLASS kPrivate = CKO_PRIVATE_KEY;

// clang-format off
const KnownAnswer kAnswers[] = {
    {"SP 800-38A F.1.5", Check::kBothWays, CKM_AES_ECB, nullptr, 0, kSecret, CKK_AES, kAesKey, kBlock, kEcbOut},
    {"SP 800-38A F.2.5", Check::kBothWays, CKM_AES_CBC, kCbcIv.data(), kCbcIv.size(), kSecret, CKK_AES, kAesKey, kBlock, kCbcOut},
    {"SP 800-38A F.2.5 padded", Check::kBothWays, CKM_AES_CBC_PAD, kCbcIv.data(), kCbcIv.size(), kSecret, CKK_AES, kAesKey, kBlock, kCbcPadOut},
    {"SP 800-38A F.5.5", Check::kBothWays, CKM_AES_CTR, &kCtr, sizeof kCtr, kSecret, CKK_AES, kAesKey, kBlock, kCtrOut},
    {"GCM test case 4", Check::kBothWays, CKM_AES_GCM, &kGcm, sizeof kGcm, kSecret, CKK_AES, kGcmKey, kGcmIn, kGcmOut},
    {"SP 800-38C C.2", Check::kBothWays, CKM_AES_CCM, &kCcm, sizeof kCcm, kSecret, CKK_AES, kCcmKey, kCcmIn, kCcmOut},
    {"IEEE 1619", Check::kBothWays, CKM_AES_XTS, kCbcIv.data(), kCbcIv.size(), kSecret, CKK_AES_XTS, kXtsKey, kXtsIn, kXtsOut},
    {"GCM test case 4", Check::kSigns, CKM_AES_GMAC, &kGmac, sizeof kGmac, kSecret, CKK_AES, kGcmKey, kGcmAad, kGmacOut},
    {"RFC 8439 2.4.2", Check::kBothWays, CKM_CHACHA20, &kChacha, sizeof kChacha, kSecret, CKK_CHACHA20, kChachaKey, kChachaIn, kChachaOut},
    {"RFC 8439 2.8.2", Check::kBothWays, CKM_CHACHA20_POLY1305, &kPoly, sizeof kPoly, kSecret, CKK_CHACHA20, kPolyKey, kPolyIn, kPolyOut},
    {"RFC 3394 4.6", Check::kBothWays, CKM_AES_KEY_WRAP, nullptr, 0, kSecret, CKK_AES, kKwKey, kKwIn, kKwOut},
    {"RFC 5649 6", Check::kBothWays, CKM_AES_KEY_WRAP_KWP, nullptr, 0, kSecret, CKK_AES, kKwpKey, kKwpIn, kKwpOut},
    {"RFC 4493 4", Check::kSigns, CKM_AES_CMAC, nullptr, 0, kSecret, CKK_AES, kCmacKey, kBlock, kCmacOut},
    {"RFC 2202 3", Check::kSigns, CKM_SHA_1_HMAC, nullptr, 0, kSecret, CKK_GENERIC_SECRET, kHmacKey, kHmacIn, kHmac1},
    {"RFC 4231 4.2", Check::kSigns, CKM_SHA256_HMAC, nullptr, 0, kSecret, CKK_GENERIC_SECRET, kHmacKey, kHmacIn, kHmac256},
    {"RFC 4231 4.2", Check::kSigns, CKM_SHA512_HMAC, nullptr, 0, kSecret, CKK_GENERIC_SECRET, kHmacKey, kHmacIn, kHmac512},
    {"FIPS 180-4", Check::kDigests, CKM_SHA_1, nullptr, 0, 0, 0, {}, kAbc, kSha1},
    {"FIPS 180-4", Check::kDigests, CKM_SHA256, nullptr, 0, 0, 0, {}, kAbc, kSha256},
    {"FIPS 180-4", Check::kDigests, CKM_SHA512, nullptr, 0, 0, 0, {}, kAbc, kSha512},
    {"OpenSSL", Check::kSigns, CKM_SHA256_RSA_PKCS, nullptr, 0, kPrivate, CKK_RSA, kRsaKey, kRsaMessage, kRsaSignature},
    {"OpenSSL", Check::kSigns, CKM_RSA_X_509, nullptr, 0, kPrivate, CKK_RSA, kRsaKey, kRsaEncoded, kRsaSignature},
    {"OpenSSL", Check::kVerifies, CKM_SHA256_RSA_PKCS_PSS, &kPss, sizeof kPss, kPrivate, CKK_RSA, kRsaKey, kRsaMessage, kPssSignature},
    {"OpenSSL", Check::kDecrypts, CKM_RSA_PKCS_OAEP, &kOaep, sizeof kOaep, kPrivate, CKK_RSA, kRsaKey, kRsaPlain, kOaepCiphertext},
    {"OpenSSL", Check::kDecrypts, CKM_RSA_PKCS, nullptr, 0, kPrivate, CKK_RSA, kRsaKey, kRsaPlain, kPkcs1Ciphertext},
    {"RFC 6979 A.2.5", Check::kVerifies, CKM_ECDSA_SHA256, nullptr, 0, kPrivate, CKK_EC, kEcKey, kEcMessage, kEcdsaOut},
    {"RFC 8032 7.1", Check::kSigns, CKM_EDDSA, nullptr, 0, kPrivate, CKK_EC_EDWARDS, kEdKey, kEdMessage, kEdOut},
    {"RFC 7748 6.1", Check::kAgrees, CKM_ECDH1_DERIVE, &kX25519, sizeof kX25519, kPrivate, CKK_EC_MONTGOMERY, kXKey, {}, kXOut},
};
// clang-format on

}  // namespace

std::span<const KnownAnswer> KnownAnswers() { return kAnswers; }

}  // namespace cmkd::sim
