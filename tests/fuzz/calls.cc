// Sequences of calls against a whole daemon in this process, beside a model that says of each whether it is allowed and
// what it finds: sessions, login, who sees which object, and the states of keys. Input: u8 profile, then steps of four
// bytes: operation, application, and two choices.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pkcs11/spec/return_values.h"
#include "tests/fuzz/in_process_daemon.h"

namespace {

using namespace cmkd;
using namespace cmkd::daemon;
using namespace cmkd::daemon::fuzz;
using spec::CallId;

constexpr std::size_t kApplications = 2;
constexpr std::size_t kStepsMax = 48;

enum class Role { kNobody, kUser, kSo };

struct ModelObject {
  CK_OBJECT_HANDLE handle = 0;
  bool token = false;
  bool is_private = false;
  bool key = false;
  bool enabled = true;
  std::size_t application = 0;  // of session objects
  CK_SESSION_HANDLE session = 0;
  std::string label;
};

struct ModelApplication {
  std::unique_ptr<Conversation> connection;
  Bytes id;
  std::map<CK_SESSION_HANDLE, bool> sessions;  // read-write?
  Role role = Role::kNobody;
};

// A step's answer against what the model says.
void Expect(const char* what, CK_RV rv, std::initializer_list<CK_RV> allowed) {
  if (std::find(allowed.begin(), allowed.end(), rv) != allowed.end()) return;
  std::fprintf(stderr, "%s: %s (0x%lx); the model says", what, std::string(spec::ReturnValueName(rv)).c_str(), rv);
  for (const CK_RV one : allowed) std::fprintf(stderr, " %s", std::string(spec::ReturnValueName(one)).c_str());
  std::fprintf(stderr, "\n");
  std::abort();
}

class Play {
 public:
  Play(InProcessDaemon& daemon, bool managed)
      : daemon_(daemon), managed_(managed), slot_(managed ? daemon.managed_slot() : daemon.general_slot()) {
    for (std::size_t i = 0; i < kApplications; ++i) Greet(i);
    operator_ = daemon_.Connect(1);
    spec::Call<CallId::Hello> hello;
    hello.version.value = 1;
    FUZZ_CHECK(AskOn(*operator_, hello) == CKR_OK);
  }

  void Step(std::uint8_t operation, std::uint8_t who, std::uint8_t first, std::uint8_t second) {
    at_ = who % kApplications;
    switch (operation % 16) {
      case 0:
      case 1: return OpenSession(first % 2 == 0);
      case 2: return CloseSession(first);
      case 3: return Login(first, second % 4 == 0 ? CKU_SO : CKU_USER);
      case 4: return Logout(first);
      case 5: return CreateData(first, (second & 1) != 0, (second & 2) != 0);
      case 6:
      case 7: return GenerateKey(first, (second & 1) != 0, (second & 2) != 0);
      case 8: return Destroy(first, second);
      case 9: return Find(first);
      case 10: return ReadLabel(first, second);
      case 11: return ReadValue(first, second);
      case 12: return Encrypt(first, second);
      case 13: return ChangeKey(second, (first & 1) != 0);
      case 14: return Vanish();
      default: return CloseAll();
    }
  }

  // What every application sees, at the end.
  void End() {
    for (at_ = 0; at_ < kApplications; ++at_) {
      OpenSession(true);
      Find(0);
      OpenSession(false);
      Find(0);
    }
  }

 private:
  ModelApplication& app() { return applications_[at_]; }

  template <class Call>
  static CK_RV AskOn(Conversation& connection, Call& call) {
    wire::Buffer buffer;
    wire::Writer w(buffer);
    wire::EncodeCall(w, call);
    const auto answer = fuzz::Ask(connection, spec::WireId(Call::kId), buffer.view());
    FUZZ_CHECK(answer.has_value());
    wire::Reader r(*answer);
    const CK_RV rv = r.U64();
    FUZZ_CHECK(wire::DecodeResults(r, call, rv));
    return rv;
  }
  template <class Call>
  CK_RV Ask(Call& call) {
    return AskOn(*app().connection, call);
  }

  void Greet(std::size_t i) {
    applications_[i].connection = daemon_.Connect(static_cast<std::int32_t>(100 + i));
    spec::Call<CallId::Hello> hello;
    hello.version.value = 1;
    FUZZ_CHECK(AskOn(*applications_[i].connection, hello) == CKR_OK);
  }

  // A session of the application, or (one choice in eight) a handle that it does not have.
  CK_SESSION_HANDLE Choose(std::uint8_t choice) {
    if (app().sessions.empty() || choice % 8 == 7) return 1000 + choice;
    auto it = app().sessions.begin();
    std::advance(it, choice / 8 % app().sessions.size());
    return it->first;
  }
  bool IsOpen(CK_SESSION_HANDLE session) { return app().sessions.contains(session); }
  // True when the session is not open, which the call must have said.
  bool NoSession(const char* what, CK_SESSION_HANDLE session, CK_RV rv) {
    if (IsOpen(session)) return false;
    Expect(what, rv, {CKR_SESSION_HANDLE_INVALID});
    return true;
  }

  bool Sees(const ModelObject& object) {
    if (!object.token && object.application != at_) return false;
    return !object.is_private || app().role == Role::kUser;
  }
  ModelObject* ChooseObject(std::uint8_t choice) {
    return objects_.empty() ? nullptr : &objects_[choice % objects_.size()];
  }
  void DropObjects(std::size_t application, CK_SESSION_HANDLE session) {
    std::erase_if(objects_, [&](const ModelObject& object) {
      return !object.token && object.application == application && (session == 0 || object.session == session);
    });
  }
  void DropPrivate() {
    std::erase_if(objects_, [&](const ModelObject& object) {
      return !object.token && object.application == at_ && object.is_private;
    });
  }

  void OpenSession(bool read_write) {
    spec::Call<CallId::C_OpenSession> call;
    CK_SESSION_HANDLE session = 0;
    call.slot.value = slot_;
    call.flags.value = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0);
    call.session.value = &session;
    const CK_RV rv = Ask(call);
    if (!read_write && app().role == Role::kSo) return Expect("open", rv, {CKR_SESSION_READ_WRITE_SO_EXISTS});
    Expect("open", rv, {CKR_OK});
    FUZZ_CHECK(!IsOpen(session));
    app().sessions[session] = read_write;
  }

  void CloseSession(std::uint8_t choice) {
    spec::Call<CallId::C_CloseSession> call;
    call.session.value = Choose(choice);
    const CK_RV rv = Ask(call);
    if (NoSession("close", call.session.value, rv)) return;
    Expect("close", rv, {CKR_OK});
    DropObjects(at_, call.session.value);
    app().sessions.erase(call.session.value);
    if (app().sessions.empty()) app().role = Role::kNobody;
  }

  void CloseAll() {
    spec::Call<CallId::C_CloseAllSessions> call;
    call.slot.value = slot_;
    Expect("close all", Ask(call), {CKR_OK});
    app().sessions.clear();
    app().role = Role::kNobody;
    DropObjects(at_, 0);
  }

  void Vanish() {
    app().connection.reset();
    app().sessions.clear();
    app().role = Role::kNobody;
    DropObjects(at_, 0);
    Greet(at_);
  }

  void Login(std::uint8_t choice, CK_USER_TYPE user) {
    spec::Call<CallId::C_Login> call;
    call.session.value = Choose(choice);
    call.user_type.value = user;
    std::string pin(user == CKU_SO ? kSoPin : kUserPin);
    call.pin.data = reinterpret_cast<CK_BYTE_PTR>(pin.data());
    call.pin.length = pin.size();
    const CK_RV rv = Ask(call);
    if (NoSession("login", call.session.value, rv)) return;
    const Role wanted = user == CKU_SO ? Role::kSo : Role::kUser;
    if (app().role == wanted) return Expect("login", rv, {CKR_USER_ALREADY_LOGGED_IN});
    if (app().role != Role::kNobody) return Expect("login", rv, {CKR_USER_ANOTHER_ALREADY_LOGGED_IN});
    const bool read_only =
        std::any_of(app().sessions.begin(), app().sessions.end(), [](const auto& session) { return !session.second; });
    if (wanted == Role::kSo && read_only) return Expect("login", rv, {CKR_SESSION_READ_ONLY_EXISTS});
    Expect("login", rv, {CKR_OK});
    app().role = wanted;
  }

  void Logout(std::uint8_t choice) {
    spec::Call<CallId::C_Logout> call;
    call.session.value = Choose(choice);
    const CK_RV rv = Ask(call);
    if (NoSession("logout", call.session.value, rv)) return;
    if (app().role == Role::kNobody) return Expect("logout", rv, {CKR_USER_NOT_LOGGED_IN});
    Expect("logout", rv, {CKR_OK});
    app().role = Role::kNobody;
    DropPrivate();
  }

  // Why an object of this kind may not be made in the session; CKR_OK when it may.
  CK_RV MayMake(CK_SESSION_HANDLE session, bool token, bool is_private) {
    if (token && !app().sessions[session]) return CKR_SESSION_READ_ONLY;
    if (is_private && app().role != Role::kUser) return CKR_USER_NOT_LOGGED_IN;
    return CKR_OK;
  }

  struct Made {
    std::string label;
    CK_OBJECT_CLASS object_class;
    CK_BBOOL token, is_private, yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bytes = 32;
    std::vector<CK_ATTRIBUTE> list;
  };
  Made Describe(CK_OBJECT_CLASS object_class, bool token, bool is_private) {
    return {"object " + std::to_string(next_label_++),
            object_class,
            token ? CK_BBOOL{CK_TRUE} : CK_BBOOL{CK_FALSE},
            is_private ? CK_BBOOL{CK_TRUE} : CK_BBOOL{CK_FALSE},
            CK_TRUE,
            CK_FALSE,
            32,
            {}};
  }
  static void Common(Made& made) {
    made.list = {{CKA_CLASS, &made.object_class, sizeof made.object_class},
                 {CKA_TOKEN, &made.token, 1},
                 {CKA_PRIVATE, &made.is_private, 1},
                 {CKA_LABEL, made.label.data(), made.label.size()}};
  }
  void Keep(const Made& made, CK_OBJECT_HANDLE handle, CK_SESSION_HANDLE session, bool key) {
    for (const ModelObject& object : objects_) {
      FUZZ_CHECK(object.handle != handle || (!object.token && object.application != at_));
    }
    FUZZ_CHECK((handle < kSessionObjectBase) == (made.token == CK_TRUE));
    objects_.push_back(
        {handle, made.token == CK_TRUE, made.is_private == CK_TRUE, key, true, at_, session, made.label});
  }

  void CreateData(std::uint8_t choice, bool token, bool is_private) {
    Made made = Describe(CKO_DATA, token, is_private);
    Common(made);
    spec::Call<CallId::C_CreateObject> call;
    CK_OBJECT_HANDLE handle = 0;
    call.session.value = Choose(choice);
    call.attributes = {made.list.data(), made.list.size()};
    call.object.value = &handle;
    const CK_RV rv = Ask(call);
    if (NoSession("create", call.session.value, rv)) return;
    const CK_RV wanted = MayMake(call.session.value, token, is_private);
    Expect("create", rv, {wanted});
    if (wanted == CKR_OK) Keep(made, handle, call.session.value, false);
  }

  void GenerateKey(std::uint8_t choice, bool token, bool is_private) {
    Made made = Describe(CKO_SECRET_KEY, token, is_private);
    Common(made);
    made.list.push_back({CKA_VALUE_LEN, &made.bytes, sizeof made.bytes});
    made.list.push_back({CKA_ENCRYPT, &made.yes, 1});
    made.list.push_back({CKA_DECRYPT, &made.yes, 1});
    made.list.push_back({CKA_SENSITIVE, &made.yes, 1});
    made.list.push_back({CKA_EXTRACTABLE, &made.no, 1});
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    spec::Call<CallId::C_GenerateKey> call;
    CK_OBJECT_HANDLE handle = 0;
    call.session.value = Choose(choice);
    call.mechanism.value = &mechanism;
    call.attributes = {made.list.data(), made.list.size()};
    call.key.value = &handle;
    const CK_RV rv = Ask(call);
    if (NoSession("generate", call.session.value, rv)) return;
    const CK_RV wanted = MayMake(call.session.value, token, is_private);
    Expect("generate", rv, {wanted});
    if (wanted == CKR_OK) Keep(made, handle, call.session.value, true);
  }

  void Destroy(std::uint8_t choice, std::uint8_t which) {
    spec::Call<CallId::C_DestroyObject> call;
    const ModelObject* object = ChooseObject(which);
    call.session.value = Choose(choice);
    call.object.value = object == nullptr ? which : object->handle;
    const CK_RV rv = Ask(call);
    if (NoSession("destroy", call.session.value, rv)) return;
    object = Own(object);
    if (object == nullptr) return Expect("destroy", rv, {CKR_OBJECT_HANDLE_INVALID});
    if (object->token && !app().sessions[call.session.value]) return Expect("destroy", rv, {CKR_SESSION_READ_ONLY});
    Expect("destroy", rv, {CKR_OK});
    objects_.erase(objects_.begin() + (object - objects_.data()));
  }

  // The object that the handle of `object` means to this application, if it sees one: session objects of two
  // applications may have the same handle.
  const ModelObject* Own(const ModelObject* object) {
    if (object == nullptr) return nullptr;
    for (const ModelObject& one : objects_) {
      if (one.handle == object->handle && Sees(one)) return &one;
    }
    return nullptr;
  }

  void Find(std::uint8_t choice) {
    spec::Call<CallId::C_FindObjectsInit> begin;
    begin.session.value = Choose(choice);
    CK_RV rv = Ask(begin);
    if (NoSession("find", begin.session.value, rv)) return;
    Expect("find", rv, {CKR_OK});
    std::set<CK_OBJECT_HANDLE> found;
    CK_OBJECT_HANDLE handles[7];
    CK_ULONG count = 0;
    do {
      spec::Call<CallId::C_FindObjects> next;
      next.session = begin.session;
      next.objects = {handles, std::size(handles), &count};
      Expect("find next", Ask(next), {CKR_OK});
      for (CK_ULONG i = 0; i < count; ++i) FUZZ_CHECK(found.insert(handles[i]).second);
    } while (count != 0);
    spec::Call<CallId::C_FindObjectsFinal> last;
    last.session = begin.session;
    Expect("find last", Ask(last), {CKR_OK});
    std::set<CK_OBJECT_HANDLE> wanted;
    for (const ModelObject& object : objects_) {
      if (Sees(object)) wanted.insert(object.handle);
    }
    FUZZ_CHECK(found == wanted);
  }

  CK_RV Read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type, std::string& value) {
    value.assign(256, '\0');
    CK_ATTRIBUTE attribute{type, value.data(), value.size()};
    spec::Call<CallId::C_GetAttributeValue> call;
    call.session.value = session;
    call.object.value = handle;
    call.attributes = {&attribute, 1};
    const CK_RV rv = Ask(call);
    value.resize(rv == CKR_OK ? attribute.ulValueLen : 0);
    return rv;
  }

  void ReadLabel(std::uint8_t choice, std::uint8_t which) {
    const ModelObject* object = ChooseObject(which);
    const CK_SESSION_HANDLE session = Choose(choice);
    std::string value;
    const CK_RV rv = Read(session, object == nullptr ? which : object->handle, CKA_LABEL, value);
    if (NoSession("label", session, rv)) return;
    object = Own(object);
    if (object == nullptr) return Expect("label", rv, {CKR_OBJECT_HANDLE_INVALID});
    Expect("label", rv, {CKR_OK});
    FUZZ_CHECK(value == object->label);
  }

  void ReadValue(std::uint8_t choice, std::uint8_t which) {
    const ModelObject* object = ChooseObject(which);
    const CK_SESSION_HANDLE session = Choose(choice);
    std::string value;
    const CK_RV rv = Read(session, object == nullptr ? which : object->handle, CKA_VALUE, value);
    if (NoSession("value", session, rv)) return;
    object = Own(object);
    if (object == nullptr) return Expect("value", rv, {CKR_OBJECT_HANDLE_INVALID});
    Expect("value", rv, {object->key ? CKR_ATTRIBUTE_SENSITIVE : CKR_OK});
    FUZZ_CHECK(value.empty());
  }

  void Encrypt(std::uint8_t choice, std::uint8_t which) {
    const ModelObject* object = ChooseObject(which);
    CK_BYTE iv[12] = {};
    CK_GCM_PARAMS gcm{iv, sizeof iv, 96, nullptr, 0, 128};
    CK_MECHANISM mechanism{CKM_AES_GCM, &gcm, sizeof gcm};
    spec::Call<CallId::C_EncryptInit> begin;
    begin.session.value = Choose(choice);
    begin.mechanism.value = &mechanism;
    begin.key.value = object == nullptr ? which : object->handle;
    const CK_RV rv = Ask(begin);
    if (NoSession("encrypt", begin.session.value, rv)) return;
    object = Own(object);
    if (object == nullptr || !object->key) return Expect("encrypt", rv, {CKR_KEY_HANDLE_INVALID});
    if (!object->enabled) return Expect("encrypt", rv, {CKR_KEY_FUNCTION_NOT_PERMITTED});
    Expect("encrypt", rv, {CKR_OK});
    CK_BYTE text[5] = {1, 2, 3, 4, 5};
    CK_BYTE sealed[64];
    CK_ULONG length = sizeof sealed;
    spec::Call<CallId::C_Encrypt> encrypt;
    encrypt.session = begin.session;
    encrypt.input = {text, sizeof text};
    encrypt.output.data = sealed;
    encrypt.output.length = &length;
    Expect("encrypt", Ask(encrypt), {CKR_OK});
    FUZZ_CHECK(length == sizeof text + 16);
  }

  // An operator disables or enables a key of the token, by its name.
  void ChangeKey(std::uint8_t which, bool enable) {
    ModelObject* object = ChooseObject(which);
    if (object == nullptr) return;
    std::string request = std::string(R"({"verb":"key.)") + (enable ? "enable" : "disable") +
                          R"(","arguments":{"key":")" + object->label + "\"}}";
    spec::Call<CallId::Admin> call;
    call.request = {reinterpret_cast<CK_BYTE_PTR>(request.data()), request.size()};
    FUZZ_CHECK(AskOn(*operator_, call) == CKR_OK);
    const bool done = AsText(call.answer.value).find("\"ok\":true") != std::string_view::npos;
    if (!object->token || !object->key) {
      FUZZ_CHECK(!done);
      return;
    }
    // Doing it twice may be refused or be nothing; either way the state is what was asked for.
    FUZZ_CHECK(done || object->enabled == enable);
    object->enabled = enable;
  }

  InProcessDaemon& daemon_;
  bool managed_;
  CK_SLOT_ID slot_;
  std::size_t at_ = 0;
  std::array<ModelApplication, kApplications> applications_;
  std::unique_ptr<Conversation> operator_;
  std::vector<ModelObject> objects_;
  int next_label_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  InProcessDaemon& daemon = TheDaemon();
  daemon.Reset();
  {
    Play play(daemon, (data[0] & 1) != 0);
    for (std::size_t at = 1; at + 4 <= std::min(size, 1 + 4 * kStepsMax); at += 4) {
      play.Step(data[at], data[at + 1], data[at + 2], data[at + 3]);
    }
    play.End();
  }
  const Registry::Totals left = daemon.Count();
  FUZZ_CHECK(left.applications == 0 && left.sessions == 0 && left.session_objects == 0);
  return 0;
}
