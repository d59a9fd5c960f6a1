// F05 as a client that speaks the wire itself: while the daemon reads a request in the lane, another thread changes it.
#include "tests/attacks/lane_race.h"

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "pkcs11/lane/link.h"
#include "pkcs11/wire/codec.h"

namespace cmkd::attacks {
namespace {

using spec::CallId;

// A client that speaks the wire itself and knows where its requests lie in the shared memory.
class LaneClient {
 public:
  bool Connect(const std::string& path) {
    link_ = lane::ClientLink(wire::Connect(path));
    link_.SetDeadline(std::chrono::seconds(30));
    spec::Call<CallId::Hello> hello;
    hello.version.value = 1;
    const std::string before = Mappings();
    if (!link_.valid() || Ask(hello) != CKR_OK || !link_.OpenLane() || !link_.has_lane()) return false;
    FindMemory(before);
    return requests_ != nullptr;
  }

  template <class Call>
  CK_RV Ask(Call& call) {
    const Bytes frame = FrameOf(call);
    Bytes answer;
    if (!Exchange(frame, answer)) return CKR_DEVICE_REMOVED;
    wire::Reader r(answer);
    const CK_RV rv = r.U64();
    return wire::DecodeResults(r, call, rv) ? rv : CKR_DEVICE_ERROR;
  }

  template <class Call>
  static Bytes FrameOf(Call& call) {
    wire::Buffer buffer;
    wire::Writer w(buffer);
    wire::EncodeCall(w, call);
    const wire::FrameHeader header{static_cast<std::uint32_t>(buffer.size()), spec::WireId(Call::kId), 0, 1};
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&header);
    Bytes frame(raw, raw + sizeof header);
    frame.insert(frame.end(), buffer.view().begin(), buffer.view().end());
    return frame;
  }
  // False when the daemon ended the connection.
  bool Exchange(ByteView frame, Bytes& answer) {
    wire::FrameHeader header{};
    wire::Buffer payload;
    if (!link_.Send(frame) || link_.ReceiveFrame(header, payload) != wire::Receive::kFrame) return false;
    answer.assign(payload.view().begin(), payload.view().end());
    return answer.size() >= sizeof(CK_RV);
  }
  // Where the daemon reads the frame, from its first byte.
  std::uint8_t* requests() const { return requests_; }

 private:
  static std::string Mappings() {
    std::ifstream in("/proc/self/maps");
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
  }
  // The mappings of a lane that are new (a part of it is locked, so there are several); the areas of both directions
  // are their end.
  void FindMemory(const std::string& before) {
    std::istringstream now(Mappings());
    std::uintptr_t end = 0;
    for (std::string line; std::getline(now, line);) {
      if (line.find("cmkd lane") == std::string::npos || before.find(line) != std::string::npos) continue;
      end = std::max(end, std::uintptr_t{std::stoul(line.substr(line.find('-') + 1), nullptr, 16)});
    }
    if (end != 0) requests_ = reinterpret_cast<std::uint8_t*>(end - 2 * lane::kFrameBytesMax);
  }

  lane::ClientLink link_;
  std::uint8_t* requests_ = nullptr;
};

// Writes two values in turn to one place, as fast as it goes.
class Flipper {
 public:
  template <class Value>
  Flipper(std::uint8_t* place, Value one, Value other)
      : thread_([this, place, one, other] {
          auto* word = reinterpret_cast<volatile Value*>(place);
          while (!stop_.load(std::memory_order_relaxed)) {
            *word = one;
            *word = other;
          }
        }) {}
  ~Flipper() {
    stop_ = true;
    thread_.join();
  }
  Flipper(const Flipper&) = delete;
  Flipper& operator=(const Flipper&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What the attacker has on the token: an object whose value everybody may read, and a key whose value nobody may.
struct Prey {
  CK_SESSION_HANDLE session = 0;
  CK_OBJECT_HANDLE open = 0, closed = 0;
  Bytes value = Bytes(32, 0x5A);
};

CK_RV Prepare(const Bench& bench, LaneClient& client, Prey& prey) {
  spec::Call<CallId::C_OpenSession> session;
  session.slot.value = bench.slot();
  session.flags.value = CKF_SERIAL_SESSION | CKF_RW_SESSION;
  session.session.value = &prey.session;
  if (const CK_RV rv = client.Ask(session); rv != CKR_OK) return rv;
  spec::Call<CallId::C_Login> login;
  login.session.value = prey.session;
  login.user_type.value = CKU_USER;
  std::string pin = bench.pin();
  login.pin = spec::SecretIn::FromArgs(reinterpret_cast<CK_BYTE_PTR>(pin.data()), pin.size());
  if (const CK_RV rv = client.Ask(login); rv != CKR_OK) return rv;
  Template data = Template().Ulong(CKA_CLASS, CKO_DATA).Raw(CKA_VALUE, prey.value);
  spec::Call<CallId::C_CreateObject> create;
  create.session.value = prey.session;
  create.attributes = {data.data(), data.size()};
  create.object.value = &prey.open;
  if (const CK_RV rv = client.Ask(create); rv != CKR_OK) return rv;
  Template closed = AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}).Bool(CKA_EXTRACTABLE, false).Ulong(CKA_VALUE_LEN, 32);
  CK_MECHANISM making{CKM_AES_KEY_GEN, nullptr, 0};
  spec::Call<CallId::C_GenerateKey> generate;
  generate.session.value = prey.session;
  generate.mechanism.value = &making;
  generate.attributes = {closed.data(), closed.size()};
  generate.key.value = &prey.closed;
  return client.Ask(generate);
}

// The handle of the readable object turns into the key's after it was checked, or the other way round. How often the
// daemon saw the key's.
int RaceForTheHandle(LaneClient& client, const Prey& prey, Trial& trial) {
  Bytes value(32);
  CK_ATTRIBUTE wanted{CKA_VALUE, value.data(), value.size()};
  spec::Call<CallId::C_GetAttributeValue> get;
  get.session.value = prey.session;
  get.object.value = prey.open;
  get.attributes = {&wanted, 1};
  const Bytes frame = LaneClient::FrameOf(get);
  // The session's handle comes first.
  std::uint8_t* handle = client.requests() + sizeof(wire::FrameHeader) + sizeof(CK_ULONG);
  const Flipper flipper(handle, prey.open, prey.closed);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    Bytes answer;
    if (!client.Exchange(frame, answer)) {
      trial.Broken("the daemon ends over a handle that changes");
      break;
    }
    CK_RV rv = 0;
    std::memcpy(&rv, answer.data(), sizeof rv);
    refused += rv == CKR_ATTRIBUTE_SENSITIVE ? 1 : 0;
    const bool whole = std::search(answer.begin(), answer.end(), prey.value.begin(), prey.value.end()) != answer.end();
    if (rv == CKR_OK && !whole) trial.Broken("a handle that changes after the check reads a sensitive key");
    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_SENSITIVE) trial.Broken("a changing handle gives " + Hex(answer));
  }
  return refused;
}

// The length of a frame, or of a field in it, grows after it was checked. The daemon may end the connection.
void RaceForTheLength(const Bench& bench, const std::string& path, Trial& trial) {
  for (int round = 0; round < 12; ++round) {
    LaneClient client;
    Prey prey;
    if (!client.Connect(path) || !trial.Ready("another lane", Prepare(bench, client, prey))) return;
    Bytes text(4096, 'x'), digest(64);
    CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
    spec::Call<CallId::C_DigestInit> init;
    init.session.value = prey.session;
    init.mechanism.value = &sha;
    if (!trial.Ready("C_DigestInit", client.Ask(init))) return;
    spec::Call<CallId::C_DigestUpdate> update;
    update.session.value = prey.session;
    update.input = {text.data(), text.size()};
    const Bytes frame = LaneClient::FrameOf(update);
    const CK_ULONG long_value = text.size();
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&long_value);
    const auto at = std::search(frame.begin() + sizeof(wire::FrameHeader), frame.end(), raw, raw + sizeof long_value);
    const bool header = round % 2 == 0 || at == frame.end();
    std::uint8_t* place = client.requests() + (header ? 0 : at - frame.begin());
    const auto length = header ? static_cast<std::uint32_t>(frame.size() - sizeof(wire::FrameHeader))
                               : static_cast<std::uint32_t>(long_value);
    const Flipper flipper(place, length, std::uint32_t{0x7FFFFFFF});
    Bytes answer;
    for (int i = 0; i < 200 && client.Exchange(frame, answer); ++i) {
    }
  }
}

}  // namespace

void RaceForTheLane(Bench& bench, Trial& trial) {
  const char* path = std::getenv("CMKD_SOCKET");
  if (path == nullptr) return trial.NotApplicable("there is no daemon");
  LaneClient client;
  Prey prey;
  if (!client.Connect(path)) return trial.NotApplicable("the daemon gives no lane");
  if (!trial.Ready("C_OpenSession to C_GenerateKey", Prepare(bench, client, prey))) return;
  const int seen = RaceForTheHandle(client, prey, trial);
  RaceForTheLength(bench, path, trial);
  // The daemon is there, and answers others rightly.
  CK_OBJECT_HANDLE key = 0;
  if (trial.Ready("C_GenerateKey afterwards", bench.GenerateAes(AesTemplate({CKA_ENCRYPT}), key)))
    trial.Held("what is in the lane is copied once, then checked (" + std::to_string(seen) +
               " of 5000 handles changed)");
}

}  // namespace cmkd::attacks
