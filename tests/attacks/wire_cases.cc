// F: memory and wire.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "pkcs11/wire/frame.h"
#include "pkcs11/wire/socket.h"
#include "tests/attacks/cases.h"
#include "tests/attacks/children.h"
#include "tests/attacks/lane_race.h"

namespace cmkd::attacks {
namespace {

const std::initializer_list<CK_RV> kBadArguments = {CKR_ARGUMENTS_BAD};

void F01(Bench& bench, Trial& trial) {
  CK_FUNCTION_LIST* f = bench.f();
  const CK_SESSION_HANDLE s = bench.session();
  CK_OBJECT_HANDLE object = 0;
  CK_BYTE byte = 0;
  CK_ULONG length = 1;
  CK_OBJECT_HANDLE key = 0;
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}), key))) return;
  trial.MustRefuse("C_CreateObject, NULL", f->C_CreateObject(s, nullptr, 3, &object), kBadArguments, "NULL is read");
  trial.MustRefuse("C_GenerateRandom, NULL", f->C_GenerateRandom(s, nullptr, 32), kBadArguments, "NULL is written");
  trial.MustRefuse("C_OpenSession, NULL", f->C_OpenSession(bench.slot(), CKF_SERIAL_SESSION, nullptr, nullptr, nullptr),
                   kBadArguments, "NULL is written");
  trial.MustRefuse("C_EncryptInit, key of NULL mechanism", f->C_GenerateKey(s, nullptr, nullptr, 0, &object),
                   kBadArguments, "NULL is read");
  CK_ATTRIBUTE lies{CKA_LABEL, nullptr, 5};
  trial.MustRefuse("C_CreateObject, value NULL", f->C_CreateObject(s, &lies, 1, &object),
                   {CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT},
                   "NULL is read");
  Mechanism gcm = Mechanism::Gcm(Bytes(12, 1));
  if (!trial.Ready("C_EncryptInit", f->C_EncryptInit(s, gcm.get(), key))) return;
  trial.MustRefuse("C_Encrypt, NULL of 2^31 bytes", f->C_Encrypt(s, nullptr, CK_ULONG{1} << 31, &byte, &length),
                   {CKR_ARGUMENTS_BAD, CKR_DATA_LEN_RANGE}, "NULL is read");
}

// Lengths that nobody has memory for, with a pointer to one byte. Only for modules that have a limit below them: the
// caller's own memory ends somewhere, and a module must not go and look where.
void F02(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, object = 0;
  Bytes out;
  const std::initializer_list<CK_RV> right = {CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID};
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}), key))) return;
  CK_BYTE byte = 1;
  for (const CK_ULONG length : {CK_ULONG{1} << 32, CK_ULONG{1} << 63, ~CK_ULONG{0}}) {
    const CK_GCM_PARAMS iv{&byte, length, 96, nullptr, 0, 128};
    trial.MustRefuse("C_EncryptInit, IV too long", bench.Encrypt(Mechanism::Of(CKM_AES_GCM, iv), key, Bytes(16), out),
                     right, "a lying length of an IV");
    CK_BYTE nonce[12] = {1};
    const CK_GCM_PARAMS aad{nonce, 12, 96, &byte, length, 128};
    trial.MustRefuse("C_EncryptInit, AAD too long", bench.Encrypt(Mechanism::Of(CKM_AES_GCM, aad), key, Bytes(16), out),
                     right, "a lying length of AAD");
  }
  const CK_GCM_PARAMS null_iv{nullptr, 12, 96, nullptr, 0, 128};
  trial.MustRefuse("C_EncryptInit, IV of NULL", bench.Encrypt(Mechanism::Of(CKM_AES_GCM, null_iv), key, Bytes(16), out),
                   right, "an IV of NULL");
  CK_MECHANISM short_struct{CKM_AES_GCM, &byte, 1};
  trial.MustRefuse("C_EncryptInit, parameter cut", bench.f()->C_EncryptInit(bench.session(), &short_struct, key), right,
                   "a parameter shorter than its structure");
  CK_OBJECT_HANDLE pub = 0, priv = 0;
  const CK_RV pair = bench.GenerateEc(Template(), Template().Bool(CKA_DERIVE, true).Bool(CKA_SIGN, false), pub, priv);
  if (!trial.Ready("C_GenerateKeyPair", pair)) return;
  const CK_ECDH1_DERIVE_PARAMS point{CKD_NULL, 0, nullptr, CK_ULONG{1} << 40, &byte};
  const Template closed = SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, true).Ulong(CKA_VALUE_LEN, 32);
  trial.MustRefuse(
      "C_DeriveKey, point too long", bench.Derive(Mechanism::Of(CKM_ECDH1_DERIVE, point), priv, closed, object),
      {CKR_MECHANISM_PARAM_INVALID, CKR_ARGUMENTS_BAD, CKR_PUBLIC_KEY_INVALID}, "a lying length of a point");
}

// Asking for a length uses nothing up: neither the operation nor the login that the key asks for, and no second
// signature is made.
void F03(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE pub = 0, priv = 0;
  CK_FUNCTION_LIST* f = bench.f();
  const CK_SESSION_HANDLE s = bench.session();
  const Template careful = Template().Bool(CKA_SIGN, true).Bool(CKA_PRIVATE, true).Bool(CKA_ALWAYS_AUTHENTICATE, true);
  if (!trial.Ready("C_GenerateKeyPair", bench.GenerateEc(Template().Bool(CKA_VERIFY, true), careful, pub, priv)))
    return;
  CK_MECHANISM ecdsa{CKM_ECDSA, nullptr, 0};
  Bytes digest(32, 1), signature(256);
  if (!trial.Ready("C_SignInit", f->C_SignInit(s, &ecdsa, priv)) ||
      !trial.Ready("C_Login", bench.Login(s, CKU_CONTEXT_SPECIFIC, bench.pin())))
    return;
  CK_ULONG needed = 0, little = 1, length = signature.size();
  if (f->C_Sign(s, digest.data(), digest.size(), nullptr, &needed) != CKR_OK || needed < 64)
    trial.Broken("the length is not told");
  if (f->C_Sign(s, digest.data(), digest.size(), signature.data(), &little) != CKR_BUFFER_TOO_SMALL)
    trial.Broken("a buffer too small is not refused");
  const CK_RV rv = f->C_Sign(s, digest.data(), digest.size(), signature.data(), &length);
  if (rv != CKR_OK) {
    trial.Broken("asking for the length used the operation up");
  } else {
    trial.Held("a length query and a short buffer use nothing up");
  }
}

// ---- The socket

std::string SocketPath() {
  const char* path = std::getenv("CMKD_SOCKET");
  return path == nullptr ? "" : path;
}

// A server that accepts everybody and answers each first frame with these bytes.
class HostileDaemon {
 public:
  HostileDaemon(std::string path, Bytes answer, bool for_ever)
      : path_(std::move(path)), answer_(std::move(answer)), for_ever_(for_ever) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ready_ =
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && ::listen(listener_, 16) == 0;
    thread_ = std::thread([this] { Serve(); });
  }
  ~HostileDaemon() {
    stop_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    ::unlink(path_.c_str());
  }
  HostileDaemon(const HostileDaemon&) = delete;
  HostileDaemon& operator=(const HostileDaemon&) = delete;
  bool ready() const { return ready_; }

 private:
  void Serve() {
    while (!stop_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (::poll(&waiting, 1, 100) <= 0) continue;
      const int peer = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) continue;
      const timeval limit{0, 200000};
      ::setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      ::setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      std::uint8_t block[4096];
      if (::recv(peer, block, sizeof block, 0) > 0) {
        std::size_t sent = 0;
        do {
          const ssize_t now = ::send(peer, answer_.data(), answer_.size(), MSG_NOSIGNAL);
          if (now <= 0) break;
          sent += static_cast<std::size_t>(now);
        } while (for_ever_ && !stop_ && sent < (std::size_t{8} << 20));
      }
      ::close(peer);
    }
  }

  std::string path_;
  Bytes answer_;
  bool for_ever_;
  int listener_ = -1;
  bool ready_ = false;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Bytes Frame(std::uint32_t payload_bytes, std::uint16_t call, std::uint16_t flags, std::uint64_t id, Bytes payload) {
  const wire::FrameHeader header{payload_bytes, call, flags, id};
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&header);
  Bytes frame(raw, raw + sizeof header);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

void F04(Bench&, Trial& trial) {
  if (SocketPath().empty()) return trial.NotApplicable("there is no daemon");
  const std::string path = SocketPath() + ".hostile";
  const auto hello = spec::WireId(spec::CallId::Hello);
  const struct {
    const char* name;
    Bytes answer;
    bool for_ever;
  } answers[] = {{"nothing", {}, false},
                 {"half a header", Bytes(7, 1), false},
                 {"an endless length", Frame(0xFFFFFFFF, hello, wire::kResponse, 1, Bytes(64, 0xFF)), false},
                 {"a short payload", Frame(64, hello, wire::kResponse, 1, Bytes(8, 0)), false},
                 {"another id", Frame(8, hello, wire::kResponse, 77, Bytes(8, 0)), false},
                 {"another call", Frame(8, 1, wire::kResponse, 1, Bytes(8, 0)), false},
                 {"lengths that lie", Frame(64, hello, wire::kResponse, 1, Bytes(64, 0xFF)), false},
                 {"zeros without end", Bytes(65536, 0), true},
                 {"noise without end", Random(65536), true}};
  for (const auto& answer : answers) {
    const HostileDaemon daemon(path, answer.answer, answer.for_ever);
    if (!daemon.ready()) return trial.NotApplicable("there is no room for a socket");
    const int status = RunSelf({"--part", "talk"}, {{"CMKD_SOCKET", path}}, 40);
    if (status != 0) trial.Broken(std::string("the program does not survive a daemon that answers ") + answer.name);
  }
  trial.Held("programs survive nine kinds of hostile daemon");
}

void F06(Bench& bench, Trial& trial) {
  if (SocketPath().empty()) return trial.NotApplicable("there is no daemon");
  std::vector<wire::Socket> held;
  const auto open = [&held]() -> int {
    held.push_back(wire::Connect(SocketPath()));
    return held.back().fd();
  };
  const auto say = [](int fd, const Bytes& bytes) {
    (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  };
  for (int i = 0; i < 100; ++i) say(open(), Bytes(static_cast<std::size_t>(i % 16), 0));  // part of a header
  for (int i = 0; i < 50; ++i) say(open(), Frame(1 << 20, 0x8000, 0, 1, Bytes(10, 0)));   // a promise of a MiB
  for (int i = 0; i < 50; ++i) say(open(), Frame(0, 0x8000, 0, 1, {}));                   // nothing in it
  for (int i = 0; i < 50; ++i) say(open(), Random(4096));
  Bytes many;
  for (int i = 0; i < 2000; ++i) {
    const Bytes frame = Frame(0, 0x8000, 0, static_cast<std::uint64_t>(i), {});
    many.insert(many.end(), frame.begin(), frame.end());
  }
  for (int i = 0; i < 10; ++i) say(open(), many);
  // Somebody else in the meantime.
  const auto begin = std::chrono::steady_clock::now();
  Bytes random(32);
  for (int i = 0; i < 100; ++i) {
    const CK_RV rv = bench.f()->C_GenerateRandom(bench.session(), random.data(), random.size());
    if (rv != CKR_OK) return trial.Broken("others are not served any more");
  }
  const bool newcomer = RunSelf({"--part", "login"}) == 0;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  if (!newcomer) trial.Broken("newcomers are shut out");
  if (took.count() > 30) trial.Broken("others wait");
  trial.Held("others are served while 260 connections misbehave");
}

constexpr Case kCases[] = {
    {"F01", "gives NULL with a length", F01, nullptr, true},
    {"F02", "gives parameters whose lengths lie", F02, nullptr, true},
    {"F03", "uses operations up by asking for lengths", F03},
    {"F04", "answers programs as a hostile daemon", F04},
    {"F05", "changes shared memory after the check", RaceForTheLane, nullptr, true},
    {"F06", "sends broken, slow and endless frames", F06},
};

}  // namespace

std::span<const Case> WireCases() { return kCases; }

}  // namespace cmkd::attacks
