// Clients that break the protocol in every way that we know. After each test the daemon serves others, and of the
// clients no application, connection, session, session object or thread is left.
#include <dirent.h>

#include <random>
#include <thread>

#include "pkcs11/spec/return_values.h"
#include "tests/calls/fill.h"
#include "tests/hostile/raw_client.h"
#include "tests/module/own_daemon.h"

namespace cmkd::tests {
namespace {

using spec::CallId;
using std::chrono::milliseconds;

// How often random things are done; a campaign sets more.
std::uint64_t Rounds(std::uint64_t usual) {
  const char* factor = std::getenv("CMKD_HOSTILE_FACTOR");
  return factor == nullptr ? usual : usual * std::strtoul(factor, nullptr, 10);
}

// A number of /proc/PID/status.
long OfProcess(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ':')) return std::strtol(line.c_str() + name.size() + 1, nullptr, 10);
  }
  return -1;
}

class HostileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(daemon_.Start());
    ASSERT_TRUE(daemon_.MakeToken());
    slot_ = FindSlot();
    ASSERT_TRUE(daemon_.StatusBecomes("applications", 1));
    threads_ = OfProcess(daemon_.pid(), "Threads");
  }
  void TearDown() override {
    ASSERT_TRUE(daemon_.alive());
    ExpectServed();
    EXPECT_TRUE(daemon_.StatusBecomes("applications", 1));  // cmkctl itself
    EXPECT_TRUE(daemon_.StatusBecomes("connections", 1));
    EXPECT_TRUE(daemon_.StatusBecomes("sessions", 0));
    EXPECT_TRUE(daemon_.StatusBecomes("session_objects", 0));
    // Threads of connections are joined at the daemon's next look, at most a second later when it gets a processor.
    for (int i = 0; i < 6000 && OfProcess(daemon_.pid(), "Threads") > threads_; ++i) Pause(10);
    EXPECT_LE(OfProcess(daemon_.pid(), "Threads"), threads_);
    EXPECT_TRUE(daemon_.Stop(SIGTERM));
  }

  static void Pause(int ms) { std::this_thread::sleep_for(milliseconds(ms)); }
  RawClient Client() const { return RawClient(daemon_.socket_path()); }

  // Somebody else gets an answer, in time. Right after a crowd has gone the first attempts may still be refused.
  void ExpectServed() const {
    for (int i = 0; i < 1000; ++i, Pause(10)) {
      RawClient other = Client();
      if (!other.connected() || !other.Greet()) continue;
      EXPECT_EQ(other.Ask(FrameOf(spec::Call<CallId::C_GetInfo>{})), CKR_OK);
      return;
    }
    ADD_FAILURE() << "nobody else is served";
  }

  // The slot of the token that was made: the first one that takes a session.
  CK_SLOT_ID FindSlot() const {
    RawClient client = Client();
    EXPECT_TRUE(client.Greet());
    for (CK_SLOT_ID slot = 0; slot < 16; ++slot) {
      if (client.Ask(Open(slot)) == CKR_OK) return slot;
    }
    ADD_FAILURE() << "no slot";
    return 0;
  }

  static Bytes Open(CK_SLOT_ID slot) {
    spec::Call<CallId::C_OpenSession> open;
    open.slot.value = slot;
    open.flags.value = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    return FrameOf(open);
  }
  static Bytes LogIn() {
    spec::Call<CallId::C_Login> login;
    login.session.value = 1;
    login.user_type.value = CKU_USER;
    std::string pin = kUserPin;
    login.pin.data = reinterpret_cast<CK_BYTE_PTR>(pin.data());
    login.pin.length = pin.size();
    return FrameOf(login);
  }
  static Bytes CreateData() {
    spec::Call<CallId::C_CreateObject> create;
    create.session.value = 1;
    Template attributes;
    attributes.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, false).Text(CKA_LABEL, "left behind");
    create.attributes = {attributes.data(), attributes.size()};
    return FrameOf(create);
  }
  static Bytes GenerateKey() {
    spec::Call<CallId::C_GenerateKey> generate;
    generate.session.value = 1;
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    generate.mechanism.value = &mechanism;
    Template attributes;
    attributes.Bool(CKA_TOKEN, false).Ulong(CKA_VALUE_LEN, 32).Bool(CKA_ENCRYPT, true);
    generate.attributes = {attributes.data(), attributes.size()};
    return FrameOf(generate);
  }
  static Bytes DigestInit() {
    spec::Call<CallId::C_DigestInit> begin;
    begin.session.value = 1;
    CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
    begin.mechanism.value = &mechanism;
    return FrameOf(begin);
  }
  static Bytes DigestUpdate() {
    spec::Call<CallId::C_DigestUpdate> update;
    update.session.value = 1;
    CK_BYTE data[3] = {1, 2, 3};
    update.input = {data, sizeof data};
    return FrameOf(update);
  }
  static Bytes Random(CK_ULONG bytes) {
    spec::Call<CallId::C_GenerateRandom> random;
    random.session.value = 1;
    random.output.length = bytes;
    return FrameOf(random);
  }
  // An application's life in frames: session, login, objects, operations.
  std::vector<Bytes> Conversation() const {
    return {HelloFrame(), Open(slot_), LogIn(), CreateData(), GenerateKey(), DigestInit(), DigestUpdate(), Random(64)};
  }

  OwnDaemon daemon_;
  CK_SLOT_ID slot_ = 0;
  long threads_ = 0;
};

TEST_F(HostileTest, AClientMayVanishAtAnyByteOfAnyCall) {
  const std::vector<Bytes> conversation = Conversation();
  for (std::size_t last = 0; last < conversation.size(); ++last) {
    const Bytes& frame = conversation[last];
    // What is behind the first bytes of a long frame is the same over and over.
    const std::size_t step = last < 2 ? 1 : 3;
    for (std::size_t cut = 0; cut <= frame.size(); cut += step) {
      RawClient client = Client();
      ASSERT_TRUE(client.connected());
      for (std::size_t i = 0; i < last; ++i) {
        ASSERT_EQ(client.Ask(conversation[i]), CKR_OK) << "frame " << i << " before " << last;
      }
      // The whole frame, too, with nobody there to take the answer.
      ASSERT_TRUE(client.Send(ByteView(frame).first(cut))) << "frame " << last << " at " << cut;
    }
  }
}

TEST_F(HostileTest, AFrameInPiecesIsAFrame) {
  RawClient client = Client();
  for (const Bytes& frame : Conversation()) {
    for (std::size_t i = 0; i + 1 < frame.size(); ++i) {
      ASSERT_TRUE(client.Send(ByteView(frame).subspan(i, 1)));
      if (i % 16 == 0) Pause(1);
    }
    ASSERT_EQ(client.Ask(ByteView(frame).last(1)), CKR_OK);
  }
}

TEST_F(HostileTest, NothingIsAnsweredBeforeAHello) {
  for (const CallId id : CallsOnTheWire()) {
    if (id == CallId::Hello) continue;
    RawClient client = Client();
    client.Send(FrameOf(spec::WireId(id), Bytes(8)));
    EXPECT_TRUE(client.WasClosed()) << spec::Row(id).name;
  }
}

TEST_F(HostileTest, ASecondHelloEndsTheConnection) {
  RawClient client = Client();
  ASSERT_TRUE(client.Greet());
  client.Send(HelloFrame());
  EXPECT_TRUE(client.WasClosed());
}

TEST_F(HostileTest, AHelloIsBelievedOnlyWhole) {
  const Bytes hello = HelloFrame(Bytes(16, 7), Bytes(40, 9));
  const ByteView payload = ByteView(hello).subspan(sizeof(wire::FrameHeader));
  for (std::size_t cut = 0; cut < payload.size(); ++cut) {
    RawClient client = Client();
    client.Send(FrameOf(spec::WireId(CallId::Hello), payload.first(cut)));
    EXPECT_TRUE(client.WasClosed()) << cut;
  }
  Bytes longer = ToBytes(payload);
  longer.push_back(0);
  RawClient client = Client();
  client.Send(FrameOf(spec::WireId(CallId::Hello), longer));
  EXPECT_TRUE(client.WasClosed());
}

TEST_F(HostileTest, VersionsThatAreUnknownAreAnsweredWithTheNewest) {
  RawClient none = Client();
  none.Send(HelloFrame({}, {}, 0));
  EXPECT_TRUE(none.WasClosed());
  for (const std::uint64_t version : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Send(HelloFrame({}, {}, version)));
    const auto answer = client.Receive();
    ASSERT_TRUE(answer.has_value()) << version;
    wire::Reader r(*answer);
    EXPECT_EQ(r.U64(), CKR_OK);
    EXPECT_GT(r.U32(), 4U);
    EXPECT_EQ(r.U32(), wire::kProtocolVersion) << version;
  }
}

TEST_F(HostileTest, AHistoryThatNobodyHadGivesNothing) {
  std::mt19937 random(1);
  std::vector<Bytes> histories = {Bytes{}, Bytes(4), Bytes(4, 0xff), Bytes(12, 0xff)};
  for (int i = 0; i < 200; ++i) {
    Bytes bytes(random() % 300);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() % (i % 2 == 0 ? 256 : 3));
    histories.push_back(bytes);
  }
  for (const std::size_t id_bytes : {0U, 1U, 15U, 16U, 17U, 4096U}) {
    for (const Bytes& history : histories) {
      RawClient client = Client();
      ASSERT_TRUE(client.Send(HelloFrame(Bytes(id_bytes, 5), history)));
      const auto answer = client.Receive();
      ASSERT_TRUE(answer.has_value());
      wire::Reader r(*answer);
      (void)r.U64();
      (void)r.U32();
      (void)r.U32();
      EXPECT_EQ(r.U8(), 2) << "an outcome other than fresh, from " << Hex(history);
    }
  }
}

TEST_F(HostileTest, NumbersThatNameNoCallEndTheConnection) {
  std::vector<std::uint16_t> numbers;
  for (std::uint32_t number = 0; number < 0x10000; number += number < 0x90 || (number & 0x7fff) < 16 ? 1 : 511) {
    const CallId id = spec::FromWireId(static_cast<std::uint16_t>(number));
    if (id == CallId::kCount || spec::Row(id).local) numbers.push_back(static_cast<std::uint16_t>(number));
  }
  ASSERT_GT(numbers.size(), 100U);
  for (const std::uint16_t number : numbers) {
    RawClient client = Client();
    ASSERT_TRUE(client.Greet());
    client.Send(FrameOf(number, Bytes(16)));
    EXPECT_TRUE(client.WasClosed()) << number;
  }
}

TEST_F(HostileTest, FlagsThatARequestCannotHaveEndTheConnection) {
  for (std::uint32_t flags = 1; flags < 0x10000; flags <<= 1) {
    RawClient client = Client();
    ASSERT_TRUE(client.Greet());
    client.Send(FrameOf(spec::WireId(CallId::C_GetInfo), {}, static_cast<std::uint16_t>(flags)));
    EXPECT_TRUE(client.WasClosed()) << flags;
  }
}

TEST_F(HostileTest, LengthsOverTheLimitEndTheConnection) {
  for (const std::uint32_t bytes : {static_cast<std::uint32_t>(limits::kFrameBytesMax) + 1, 0x7fffffffU, 0xffffffffU}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Greet());
    const wire::FrameHeader header{bytes, spec::WireId(CallId::C_GetInfo), 0, 1};
    client.Send({reinterpret_cast<const std::uint8_t*>(&header), sizeof header});
    EXPECT_TRUE(client.WasClosed()) << bytes;
  }
}

TEST_F(HostileTest, GarbageBetweenFramesEndsTheConnection) {
  for (const std::size_t garbage : {1U, 15U, 16U, 1000U}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Greet());
    Bytes frame = FrameOf(spec::Call<CallId::C_GetInfo>{});
    frame.resize(frame.size() + garbage, 0xab);
    client.Send(frame);
    EXPECT_TRUE(client.WasClosed()) << garbage;
  }
}

// Every frame is answered with its own number, whatever was asked before it.
TEST_F(HostileTest, AnswersCarryTheRequestsNumber) {
  RawClient client = Client();
  ASSERT_TRUE(client.Greet());
  for (const std::uint64_t id : {std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{99}, ~std::uint64_t{0}}) {
    ASSERT_TRUE(client.Send(FrameOf(spec::WireId(CallId::C_GetInfo), {}, 0, id)));
    ASSERT_TRUE(client.Receive().has_value());
    EXPECT_EQ(client.header().request_id, id);
    EXPECT_EQ(client.header().flags, wire::kResponse);
    EXPECT_EQ(client.header().call, spec::WireId(CallId::C_GetInfo));
  }
}

TEST_F(HostileTest, ARequestThatIsNotWholeIsRefusedAndTheConnectionGoesOn) {
  RawClient client = Client();
  ASSERT_TRUE(client.Greet());
  ASSERT_EQ(client.Ask(Open(slot_)), CKR_OK);
  for (const CallId id : CallsOnTheWire()) {
    if (id == CallId::Hello) continue;
    const auto call = MakeCall(id);
    RequestFiller filler(3);
    call->Visit(filler);
    wire::Buffer buffer;
    wire::Writer w(buffer);
    call->Encode(w);
    const bool has_session =
        spec::Row(id).gate == spec::Gate::kSession || spec::Row(id).gate == spec::Gate::kReadWriteSession;
    const CK_SESSION_HANDLE session = 1;
    if (has_session) std::memcpy(buffer.data(), &session, sizeof session);
    for (std::size_t cut = 0; cut < buffer.size(); cut += 1 + buffer.size() / 40) {
      const auto rv = client.Ask(FrameOf(spec::WireId(id), buffer.view().first(cut)));
      ASSERT_TRUE(rv.has_value()) << spec::Row(id).name << " cut at " << cut;
      EXPECT_NE(*rv, CKR_OK) << spec::Row(id).name << " cut at " << cut;
      EXPECT_NE(*rv, CKR_GENERAL_ERROR) << spec::Row(id).name << " cut at " << cut;
    }
    Bytes longer = ToBytes(buffer.view());
    longer.push_back(0);
    const auto rv = client.Ask(FrameOf(spec::WireId(id), longer));
    ASSERT_TRUE(rv.has_value()) << spec::Row(id).name;
    EXPECT_NE(*rv, CKR_OK) << spec::Row(id).name;
  }
}

// Well-formed requests with any values in them, in a session and logged in: each gets an answer that can be read.
TEST_F(HostileTest, AnyValuesInAnyCallAreAnswered) {
  for (std::uint64_t seed = 0; seed < Rounds(6); ++seed) {
    RawClient client = Client();
    for (const Bytes& frame : Conversation()) ASSERT_EQ(client.Ask(frame), CKR_OK);
    std::mt19937_64 random(seed);
    for (const CallId id : CallsOnTheWire()) {
      // What ends the session would end the test of the others; new tokens would be made and never go.
      if (id == CallId::Hello || id == CallId::C_CloseSession || id == CallId::C_CloseAllSessions ||
          id == CallId::C_Logout || id == CallId::C_InitToken) {
        continue;
      }
      const auto call = MakeCall(id);
      RequestFiller filler(random());
      call->Visit(filler);
      wire::Buffer buffer;
      wire::Writer w(buffer);
      call->Encode(w);
      Bytes payload = ToBytes(buffer.view());
      const CK_SESSION_HANDLE session = 1;
      if (spec::Row(id).gate == spec::Gate::kSession || spec::Row(id).gate == spec::Gate::kReadWriteSession) {
        std::memcpy(payload.data(), &session, sizeof session);
      }
      ASSERT_TRUE(client.Send(FrameOf(spec::WireId(id), payload))) << spec::Row(id).name << ", seed " << seed;
      const auto answer = client.Receive();
      ASSERT_TRUE(answer.has_value()) << spec::Row(id).name << ", seed " << seed;
      wire::Reader r(*answer);
      const CK_RV rv = r.U64();
      EXPECT_NE(spec::ReturnValueName(rv), "") << rv;
      EXPECT_NE(rv, CKR_GENERAL_ERROR) << spec::Row(id).name << ", seed " << seed << ": " << Hex(payload);
      if (call->Check() != CKR_OK) continue;  // it may lack what results go to
      EXPECT_TRUE(call->DecodeResults(r, rv)) << spec::Row(id).name << ", seed " << seed;
      EXPECT_TRUE(filler.EndsAreWhole()) << spec::Row(id).name << ", seed " << seed;
    }
  }
}

// C_UnwrapKey and C_DeriveKey merge the caller's template with the key's. A nested template whose flat bytes look like
// CK_ATTRIBUTEs would lead to wherever the caller says, were it taken for them.
TEST_F(HostileTest, ANestedTemplateIsNeverTakenForPointers) {
  RawClient client = Client();
  ASSERT_TRUE(client.Greet());
  ASSERT_EQ(client.Ask(Open(slot_)), CKR_OK);
  ASSERT_EQ(client.Ask(LogIn()), CKR_OK);
  spec::Call<CallId::C_GenerateKey> generate;
  generate.session.value = 1;
  CK_MECHANISM key_gen{CKM_AES_KEY_GEN, nullptr, 0};
  generate.mechanism.value = &key_gen;
  Template usages;
  usages.Bool(CKA_TOKEN, false).Ulong(CKA_VALUE_LEN, 32).Bool(CKA_UNWRAP, true).Bool(CKA_DERIVE, true);
  generate.attributes = {usages.data(), usages.size()};
  ASSERT_TRUE(client.Send(FrameOf(generate)));
  const auto made = client.Receive();
  ASSERT_TRUE(made.has_value());
  wire::Reader r(*made);
  ASSERT_EQ(r.U64(), CKR_OK);
  const CK_OBJECT_HANDLE key = r.U64();

  // Flat, the nested template has 48 bytes: two CK_ATTRIBUTEs, of which the second leads to 8 bytes at 0x4141414141.
  const CK_ULONG lie[] = {CKA_LABEL, 0x4141414141, 8};
  Bytes value(4 + sizeof lie);
  std::memcpy(value.data() + 4, lie, sizeof lie);
  CK_ATTRIBUTE inside{CKA_LABEL, value.data(), value.size()};
  for (const CK_ATTRIBUTE_TYPE type : {CKA_UNWRAP_TEMPLATE, CKA_WRAP_TEMPLATE, CKA_DERIVE_TEMPLATE}) {
    CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    CK_KEY_TYPE aes = CKK_AES;
    CK_ATTRIBUTE attributes[] = {
        {CKA_CLASS, &secret, sizeof secret}, {CKA_KEY_TYPE, &aes, sizeof aes}, {type, &inside, sizeof inside}};
    CK_BYTE wrapped[40] = {};
    spec::Call<CallId::C_UnwrapKey> unwrap;
    unwrap.session.value = 1;
    CK_MECHANISM key_wrap{CKM_AES_KEY_WRAP, nullptr, 0};
    unwrap.mechanism.value = &key_wrap;
    unwrap.unwrapping_key.value = key;
    unwrap.input = {wrapped, sizeof wrapped};
    unwrap.attributes = {attributes, std::size(attributes)};
    EXPECT_EQ(client.Ask(FrameOf(unwrap)), CKR_WRAPPED_KEY_INVALID) << type;
  }
}

TEST_F(HostileTest, RandomBytesEndTheConnectionAndNothingElse) {
  std::mt19937_64 random(1);
  for (std::uint64_t round = 0; round < Rounds(300); ++round) {
    RawClient client = Client();
    ASSERT_TRUE(round % 2 != 0 || client.Greet());
    Bytes bytes(random() % 200);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    // A header that is nearly right leads further in.
    if (round % 4 < 2 && bytes.size() > sizeof(wire::FrameHeader)) {
      const wire::FrameHeader header{static_cast<std::uint32_t>(bytes.size() - sizeof header),
                                     static_cast<std::uint16_t>(random() % 0x68), 0, random()};
      std::memcpy(bytes.data(), &header, sizeof header);
    }
    client.Send(bytes);
  }
}

TEST_F(HostileTest, LengthsThatLieCostNoMemory) {
  const long before = OfProcess(daemon_.pid(), "VmRSS");
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(Client());
    ASSERT_TRUE(clients.back().Greet());
    const wire::FrameHeader header{static_cast<std::uint32_t>(limits::kFrameBytesMax), spec::WireId(CallId::C_GetInfo),
                                   0, 1};
    ASSERT_TRUE(clients.back().Send({reinterpret_cast<const std::uint8_t*>(&header), sizeof header}));
  }
  // And rooms of 64 MiB that nobody fills, from as many.
  for (int i = 0; i < 100; ++i) {
    RawClient client = Client();
    ASSERT_TRUE(client.Greet());
    ASSERT_EQ(client.Ask(Open(slot_)), CKR_OK);
    ASSERT_EQ(client.Ask(DigestInit()), CKR_OK);
    spec::Call<CallId::C_DigestFinal> last;
    last.session.value = 1;
    CK_BYTE byte = 0;
    CK_ULONG room = CK_UNAVAILABLE_INFORMATION;
    last.output = {&byte, &room};
    ASSERT_EQ(client.Ask(FrameOf(last)), CKR_OK);
  }
  ExpectServed();
  // 200 connections with a thread and a first piece each; believed, their frames would be 12 GiB.
  EXPECT_LT(OfProcess(daemon_.pid(), "VmRSS"), before + 400 * 1024);
}

TEST_F(HostileTest, ThousandsOfConnectionsComeAndGo) {
  for (int i = 0; i < 3000; ++i) {
    const RawClient client = Client();
    if (i % 3 == 0) client.Send(HelloFrame());
  }
  ExpectServed();
}

TEST_F(HostileTest, MoreConnectionsThanOneUserMayHaveAreRefused) {
  RawClient early = Client();
  ASSERT_TRUE(early.Greet());
  std::vector<RawClient> crowd;
  for (int i = 0; i < 900; ++i) crowd.push_back(Client());
  // Who is there already is served all the same.
  EXPECT_EQ(early.Ask(FrameOf(spec::Call<CallId::C_GetInfo>{})), CKR_OK);
  // The daemon takes 512 of one user (cmkd.toml); a refused one is closed without a word. The one that the cmkctl
  // before had may have been on its way out when the crowd came.
  std::size_t greeted = 0;
  for (RawClient& client : crowd) greeted += client.Greet() ? 1 : 0;
  EXPECT_LE(greeted, 511U);
  EXPECT_GE(greeted, 510U);
  EXPECT_EQ(early.Ask(FrameOf(spec::Call<CallId::C_GetInfo>{})), CKR_OK);
  // They make room as they go.
  crowd.clear();
  ExpectServed();
}

TEST_F(HostileTest, AClientThatNeverReadsHoldsUpNobody) {
  std::vector<RawClient> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(Client());
    ASSERT_TRUE(clients.back().Greet());
    ASSERT_EQ(clients.back().Ask(Open(slot_)), CKR_OK);
    ASSERT_TRUE(clients.back().Send(Random(4 << 20)));
  }
  for (int i = 0; i < 5; ++i) ExpectServed();
  // Nor does it hold up the others' work in a session of its own application: the answer is made, and only waits.
}

// All that only time ends, at once, because the time is ten seconds.
TEST_F(HostileTest, WhoDoesNothingInTheMiddleIsDisconnected) {
  RawClient silent = Client();
  RawClient half_header = Client();
  half_header.Send(Bytes(7));
  RawClient half_frame = Client();
  ASSERT_TRUE(half_frame.Greet());
  half_frame.Send(ByteView(Open(slot_)).first(20));
  RawClient never_reads = Client();
  ASSERT_TRUE(never_reads.Greet());
  ASSERT_EQ(never_reads.Ask(Open(slot_)), CKR_OK);
  never_reads.Send(Random(8 << 20));
  RawClient trickles = Client();
  ASSERT_TRUE(trickles.Greet());
  RawClient rests = Client();
  ASSERT_TRUE(rests.Greet());

  const Bytes frame = FrameOf(spec::WireId(CallId::C_GetInfo), Bytes(100'000));
  const auto begin = std::chrono::steady_clock::now();
  bool trickling = true;
  for (std::size_t at = 0; trickling && at < frame.size(); ++at) {
    trickling = trickles.Send(ByteView(frame).subspan(at, 1)) &&
                std::chrono::steady_clock::now() - begin < std::chrono::seconds(60);
    Pause(20);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(50));
  EXPECT_TRUE(silent.WasClosed());
  EXPECT_TRUE(half_header.WasClosed());
  EXPECT_TRUE(half_frame.WasClosed());
  // Only cmkctl and the one that rests between two frames are left.
  EXPECT_TRUE(daemon_.StatusBecomes("applications", 2));
  EXPECT_EQ(rests.Ask(FrameOf(spec::Call<CallId::C_GetInfo>{})), CKR_OK);
}

}  // namespace
}  // namespace cmkd::tests
