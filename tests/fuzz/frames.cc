// Connections and what they send, in any order, to a whole daemon in this process. Input: steps of u8 which connection
// and what (bit 7: it vanishes; bit 6: a hello goes before), u16 the call's number, u8 length of the payload, payload.
// No step harms the daemon; an answer is a known return value; at the end nothing is left of any client.
#include "pkcs11/spec/return_values.h"
#include "tests/fuzz/in_process_daemon.h"

namespace {

using namespace cmkd;
using namespace cmkd::daemon;
using namespace cmkd::daemon::fuzz;

// Slow on purpose (a PIN is hashed): left to the tests that know what they ask.
bool IsSlow(spec::CallId id) {
  return id == spec::CallId::C_Login || id == spec::CallId::C_LoginUser || id == spec::CallId::C_InitPIN ||
         id == spec::CallId::C_SetPIN || id == spec::CallId::C_InitToken;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  InProcessDaemon& daemon = TheDaemon();
  daemon.Reset();
  {
    std::unique_ptr<Conversation> connections[4];
    wire::Reader r({data, size});
    for (int steps = 0; steps < 64; ++steps) {
      const std::uint8_t what = r.U8();
      const std::uint16_t number = r.U16();
      const std::size_t length = r.U8();
      const ByteView payload = r.Raw(std::min(length, r.remaining()));
      if (!r.ok()) break;
      std::unique_ptr<Conversation>& connection = connections[what & 3];
      if ((what & 0x80) != 0) connection.reset();
      if (connection == nullptr) connection = daemon.Connect(1000 + (what & 1));
      if ((what & 0x40) != 0) {
        spec::Call<spec::CallId::Hello> hello;
        hello.version.value = 1;
        wire::Buffer buffer;
        wire::Writer w(buffer);
        wire::EncodeCall(w, hello);
        if (!Ask(*connection, spec::WireId(hello.kId), buffer.view())) connection = daemon.Connect(1000 + (what & 1));
      }
      if (IsSlow(spec::FromWireId(number))) continue;
      const auto answer = Ask(*connection, number, payload);
      if (!answer) {
        connection.reset();
        continue;
      }
      FUZZ_CHECK(answer->size() >= sizeof(CK_RV));
      CK_RV rv = 0;
      std::memcpy(&rv, answer->data(), sizeof rv);
      FUZZ_CHECK(!spec::ReturnValueName(rv).empty() && rv != CKR_GENERAL_ERROR);
    }
  }
  const Registry::Totals left = daemon.Count();
  FUZZ_CHECK(left.applications == 0 && left.sessions == 0 && left.session_objects == 0);
  return 0;
}
