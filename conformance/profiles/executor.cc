// Calls by their names. Each handler makes the call from the elements and writes down what came back, by path.
#include "conformance/profiles/executor.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "conformance/profiles/vocabulary.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::conformance {
namespace {

// PKCS#11 Profiles 3.2, "Variable Items". To those the modulus and the signature are added: the private key of that
// modulus is not published, so a token under test has another one. The signature that it makes is verified instead.
const std::set<std::string>& VariableItems() {
  static const std::set<std::string> items = {"LibraryDescription",
                                              "LibraryVersion",
                                              "ManufacturerID",
                                              "SlotDescription",
                                              "HardwareVersion",
                                              "FirmwareVersion",
                                              "serialNumber",
                                              "label",
                                              "model",
                                              "utcTime",
                                              "SlotID",
                                              "Object",
                                              "Session",
                                              "Data",
                                              "EncryptedData",
                                              "RandomData",
                                              "VALUE",
                                              "PUBLIC_EXPONENT",
                                              "PRIVATE_EXPONENT",
                                              "PRIME_1",
                                              "PRIME_2",
                                              "EXPONENT_1",
                                              "EXPONENT_2",
                                              "COEFFICIENT",
                                              "PRIME",
                                              "SUBPRIME",
                                              "BASE",
                                              "EC_POINT",
                                              "UNIQUE_ID",
                                              "MODULUS",
                                              "Signature"};
  return items;
}

bool IsVariable(const std::string& text) { return text.starts_with("${") && text.ends_with('}'); }

// The items below an element, each with its path; `visit` gets path, element and attribute.
template <class Visit>
void Walk(const Element& element, const std::string& path, const Visit& visit) {
  std::map<std::string, std::size_t> seen;
  for (const Element& child : element.children) {
    const std::size_t index = seen[child.name]++;
    const bool listed = child.name == "Attribute" || child.name == "SlotID" || child.name == "Type" ||
                        (child.name == "Object" && !path.empty());
    const std::string own =
        (path.empty() ? "" : path + '/') + child.name + (listed ? '[' + std::to_string(index) + ']' : "");
    const std::string judged = child.name == "Attribute" ? child.Get("type") : child.name;
    for (const auto& [key, value] : child.attributes) {
      if (key != "type") visit(own, key, value, VariableItems().contains(judged));
    }
    Walk(child, own, visit);
  }
}

std::string Item(const std::string& path, const std::string& key) { return key == "value" ? path : path + '.' + key; }

struct Context {
  Trial& t;
  std::map<std::string, std::string> variables;
  std::map<std::string, std::string> results;  // by path and attribute, as the XML would say them
  CK_OBJECT_HANDLE public_key = 0;             // the one found last, for signatures
  std::string trouble;                         // why a call could not even be made

  std::string Text(const Element& call, const std::string& child, const std::string& attribute = "value") {
    const Element* element = call.Find(child);
    return element == nullptr ? std::string() : Bound(element->Get(attribute));
  }
  std::string Bound(const std::string& text) {
    if (!IsVariable(text)) return text;
    const auto found = variables.find(text.substr(2, text.size() - 3));
    if (found != variables.end()) return found->second;
    trouble = text + " is not bound";
    return {};
  }
  CK_ULONG Number(const std::string& text) {
    const auto number = NumberFrom(text);
    if (!number) trouble = '"' + text + "\" is no number";
    return number.value_or(0);
  }
  CK_SESSION_HANDLE Session(const Element& call) { return Number(Text(call, "Session")); }
  CK_SLOT_ID Slot(const Element& call) { return Number(Text(call, "SlotID")); }
  void Set(const std::string& path, const std::string& value, const std::string& attribute = "value") {
    results[path + '@' + attribute] = value;
  }
  void Set(const std::string& path, CK_ULONG value) { Set(path, std::to_string(value)); }
  void Set(const std::string& path, CK_VERSION version) {
    Set(path, std::to_string(version.major), "major");
    Set(path, std::to_string(version.minor), "minor");
  }
  // Flags compare as numbers; the text of the test case is taken when they are the same.
  void SetFlags(const std::string& path, Flags kind, CK_FLAGS flags, const Element& expected) {
    const std::string text = expected.Get("value");
    char number[32];
    std::snprintf(number, sizeof number, "0x%lx", flags);
    Set(path, FlagsFrom(kind, text) == flags ? text : number);
  }
  template <std::size_t n>
  void SetText(const std::string& path, const CK_UTF8CHAR (&text)[n]) {
    Set(path, std::string(reinterpret_cast<const char*>(text), n));
  }
};

const Element& Child(const Element& element, const char* name) {
  static const Element kNothing;
  const Element* found = element.Find(name);
  return found == nullptr ? kNothing : *found;
}

using Handler = CK_RV (*)(Context&, const Element& call, const Element& result);

CK_RV GetInfo(Context& c, const Element&, const Element& result) {
  CK_INFO info{};
  const CK_RV rv = c.t.p11->C_GetInfo(&info);
  c.Set("Info/CryptokiVersion", info.cryptokiVersion);
  c.SetFlags("Info/Flags", Flags::kNone, info.flags, Child(Child(result, "Info"), "Flags"));
  return rv;
}

CK_RV GetSlotList(Context& c, const Element& call, const Element&) {
  const bool query = !Child(call, "SlotList").Has("length");
  CK_ULONG count = query ? 0 : c.Number(c.Text(call, "SlotList", "length"));
  std::vector<CK_SLOT_ID> slots(count + 1);
  const CK_BBOOL present = c.Text(call, "TokenPresent") == "true" ? CK_TRUE : CK_FALSE;
  const CK_RV rv = c.t.p11->C_GetSlotList(present, query ? nullptr : slots.data(), &count);
  c.Set("SlotList", std::to_string(count), "length");
  // Of the slots, the test case goes on with the one under test ("Variable behavior", 3).
  const auto slot = FindSlot(c.t.p11, c.t.settings.token);
  if (!query && slot.ok()) c.Set("SlotList/SlotID[0]", *slot);
  return rv;
}

CK_RV GetSlotInfo(Context& c, const Element& call, const Element& result) {
  CK_SLOT_INFO info{};
  const CK_RV rv = c.t.p11->C_GetSlotInfo(c.Slot(call), &info);
  c.SetFlags("SlotInfo/Flags", Flags::kSlot, info.flags, Child(Child(result, "SlotInfo"), "Flags"));
  return rv;
}

CK_RV GetTokenInfo(Context& c, const Element& call, const Element& result) {
  CK_TOKEN_INFO info{};
  const CK_RV rv = c.t.p11->C_GetTokenInfo(c.Slot(call), &info);
  c.SetFlags("TokenInfo/Flags", Flags::kToken, info.flags, Child(Child(result, "TokenInfo"), "Flags"));
  const std::pair<const char*, CK_ULONG> numbers[] = {{"MaxSessionCount", info.ulMaxSessionCount},
                                                      {"SessionCount", info.ulSessionCount},
                                                      {"MaxRwSessionCount", info.ulMaxRwSessionCount},
                                                      {"RwSessionCount", info.ulRwSessionCount},
                                                      {"MaxPinLen", info.ulMaxPinLen},
                                                      {"MinPinLen", info.ulMinPinLen},
                                                      {"TotalPublicMemory", info.ulTotalPublicMemory},
                                                      {"FreePublicMemory", info.ulFreePublicMemory},
                                                      {"TotalPrivateMemory", info.ulTotalPrivateMemory},
                                                      {"FreePrivateMemory", info.ulFreePrivateMemory}};
  for (const auto& [name, number] : numbers) {
    const std::string path = std::string("TokenInfo/") + name;
    if (number == CK_UNAVAILABLE_INFORMATION) {
      c.Set(path, std::string("UnavailableInformation"));
    } else {
      c.Set(path, number);
    }
  }
  return rv;
}

CK_RV GetMechanismList(Context& c, const Element& call, const Element& result) {
  const bool query = !Child(call, "MechanismList").Has("length");
  CK_ULONG count = query ? 0 : c.Number(c.Text(call, "MechanismList", "length"));
  std::vector<CK_MECHANISM_TYPE> list(count + 1);
  const CK_RV rv = c.t.p11->C_GetMechanismList(c.Slot(call), query ? nullptr : list.data(), &count);
  c.Set("MechanismList", std::to_string(count), "length");
  list.resize(query ? 0 : std::min<std::size_t>(count, list.size()));
  // The list may be longer and in another order; what the test case names must be in it.
  std::size_t index = 0;
  for (const Element& wanted : Child(result, "MechanismList").children) {
    const std::string name = wanted.Get("value");
    const bool there = std::find(list.begin(), list.end(), MechanismFrom(name)) != list.end();
    c.Set("MechanismList/Type[" + std::to_string(index++) + ']', there ? name : "not in the list");
  }
  return rv;
}

CK_RV GetMechanismInfo(Context& c, const Element& call, const Element& result) {
  CK_MECHANISM_INFO info{};
  const auto type = MechanismFrom(c.Text(call, "Type"));
  const CK_RV rv = c.t.p11->C_GetMechanismInfo(c.Slot(call), type.value_or(CK_UNAVAILABLE_INFORMATION), &info);
  c.Set("MechanismInfo/MinKeySize", info.ulMinKeySize);
  c.Set("MechanismInfo/MaxKeySize", info.ulMaxKeySize);
  c.SetFlags("MechanismInfo/Flags", Flags::kMechanism, info.flags, Child(Child(result, "MechanismInfo"), "Flags"));
  return rv;
}

CK_RV OpenSession(Context& c, const Element& call, const Element&) {
  CK_SESSION_HANDLE session = 0;
  const auto flags = FlagsFrom(Flags::kSession, c.Text(call, "Flags"));
  const CK_RV rv = c.t.p11->C_OpenSession(c.Slot(call), flags.value_or(0), nullptr, nullptr, &session);
  c.Set("Session", session);
  return rv;
}

CK_RV Login(Context& c, const Element& call, const Element&) {
  const std::string pin = c.Text(call, "Pin");
  return c.t.p11->C_Login(c.Session(call), UserFrom(c.Text(call, "UserType")).value_or(CK_UNAVAILABLE_INFORMATION),
                          Ptr(pin), pin.size());
}

CK_RV FindObjectsInit(Context& c, const Element& call, const Element&) {
  Template wanted;
  for (const Element& one : Child(call, "Template").children) {
    const auto type = AttributeTypeFrom(one.Get("type"));
    const auto value = type ? ValueFrom(*type, c.Bound(one.Get("value"))) : std::nullopt;
    if (!value) {
      c.trouble = "the template has an unknown " + one.Get("type");
      return CKR_GENERAL_ERROR;
    }
    wanted.Raw(*type, *value);
  }
  return c.t.p11->C_FindObjectsInit(c.Session(call), wanted.data(), wanted.size());
}

CK_RV FindObjects(Context& c, const Element& call, const Element&) {
  std::vector<CK_OBJECT_HANDLE> found(c.Number(c.Text(call, "Object", "length")) + 1);
  CK_ULONG count = 0;
  const CK_RV rv = c.t.p11->C_FindObjects(c.Session(call), found.data(), found.size() - 1, &count);
  for (CK_ULONG i = 0; rv == CKR_OK && i < count; ++i) c.Set("Object/Object[" + std::to_string(i) + ']', found[i]);
  return rv;
}

CK_RV GetAttributeValue(Context& c, const Element& call, const Element&) {
  const auto& wanted = Child(call, "Template").children;
  std::vector<Bytes> room(wanted.size());
  std::vector<CK_ATTRIBUTE> list;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const bool query = !wanted[i].Has("length");
    room[i].resize(query ? 0 : c.Number(c.Bound(wanted[i].Get("length"))) + 1);
    list.push_back({AttributeTypeFrom(wanted[i].Get("type")).value_or(CK_UNAVAILABLE_INFORMATION),
                    query ? nullptr : room[i].data(), query ? 0 : room[i].size() - 1});
  }
  const CK_OBJECT_HANDLE object = c.Number(c.Text(call, "Object"));
  const CK_RV rv = c.t.p11->C_GetAttributeValue(c.Session(call), object, list.data(), list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string path = "Template/Attribute[" + std::to_string(i) + ']';
    c.Set(path, std::to_string(list[i].ulValueLen), "length");
    if (list[i].type == CKA_MODULUS) c.public_key = object;
    if (list[i].pValue != nullptr && list[i].ulValueLen < room[i].size())
      c.Set(path, ValueText(list[i].type, ByteView(room[i]).first(list[i].ulValueLen)));
  }
  return rv;
}

CK_RV SignInit(Context& c, const Element& call, const Element&) {
  const auto type = MechanismFrom(c.Text(Child(call, "Mechanism"), "Type"));
  CK_MECHANISM mechanism{type.value_or(CK_UNAVAILABLE_INFORMATION), nullptr, 0};
  c.variables["sign with"] = std::to_string(mechanism.mechanism);
  return c.t.p11->C_SignInit(c.Session(call), &mechanism, c.Number(c.Text(call, "Key")));
}

CK_RV Sign(Context& c, const Element& call, const Element&) {
  const auto data = FromHex(c.Text(call, "Data"));
  Bytes signature(c.Number(c.Text(call, "Signature", "length")) + 1);
  CK_ULONG length = signature.size() - 1;
  if (!data) return CKR_GENERAL_ERROR;
  const CK_RV rv = c.t.p11->C_Sign(c.Session(call), Ptr(*data), data->size(), signature.data(), &length);
  if (rv != CKR_OK || c.public_key == 0) return rv;
  // Whether it is the right one is asked of the public key found before.
  CK_MECHANISM mechanism{c.Number(c.variables["sign with"]), nullptr, 0};
  const CK_RV begun = c.t.p11->C_VerifyInit(c.Session(call), &mechanism, c.public_key);
  if (begun != CKR_OK) return begun;
  return c.t.p11->C_Verify(c.Session(call), Ptr(*data), data->size(), signature.data(), length);
}

const std::map<std::string, Handler>& Handlers() {
  static const std::map<std::string, Handler> handlers = {
      {"C_Initialize", [](Context& c, const Element&, const Element&) { return Initialise(c.t.p11, c.t.settings); }},
      {"C_Finalize", [](Context& c, const Element&, const Element&) { return c.t.p11->C_Finalize(nullptr); }},
      {"C_GetInfo", GetInfo},
      {"C_GetSlotList", GetSlotList},
      {"C_GetSlotInfo", GetSlotInfo},
      {"C_GetTokenInfo", GetTokenInfo},
      {"C_GetMechanismList", GetMechanismList},
      {"C_GetMechanismInfo", GetMechanismInfo},
      {"C_OpenSession", OpenSession},
      {"C_CloseSession",
       [](Context& c, const Element& call, const Element&) { return c.t.p11->C_CloseSession(c.Session(call)); }},
      {"C_CloseAllSessions",
       [](Context& c, const Element& call, const Element&) { return c.t.p11->C_CloseAllSessions(c.Slot(call)); }},
      {"C_Login", Login},
      {"C_Logout", [](Context& c, const Element& call, const Element&) { return c.t.p11->C_Logout(c.Session(call)); }},
      {"C_FindObjectsInit", FindObjectsInit},
      {"C_FindObjects", FindObjects},
      {"C_FindObjectsFinal",
       [](Context& c, const Element& call, const Element&) { return c.t.p11->C_FindObjectsFinal(c.Session(call)); }},
      {"C_GetAttributeValue", GetAttributeValue},
      {"C_SignInit", SignInit},
      {"C_Sign", Sign},
  };
  return handlers;
}

// Binds variables and judges the rest.
void Judge(Context& c, std::size_t number, const Step& step, std::vector<Finding>& findings) {
  Walk(step.result, "",
       [&](const std::string& path, const std::string& key, const std::string& expected, bool variable) {
         const auto found = c.results.find(path + '@' + key);
         const std::string actual = found == c.results.end() ? "nothing" : found->second;
         if (IsVariable(expected)) {
           if (found != c.results.end()) c.variables[expected.substr(2, expected.size() - 3)] = actual;
           return;
         }
         if (variable) return;
         findings.push_back({number, Item(path, key), actual == expected,
                             Item(path, key) + " is " + actual + ", expected " + expected});
       });
}

}  // namespace

std::vector<std::string> ItemsOf(const Step& step) {
  std::vector<std::string> items = {"rv"};
  Walk(step.result, "",
       [&](const std::string& path, const std::string& key, const std::string& expected, bool variable) {
         if (!IsVariable(expected) && !variable) items.push_back(Item(path, key));
       });
  return items;
}

std::vector<Finding> RunTestCase(Trial& t, const TestCase& test) {
  Context context{t, {{"Pin", t.settings.pin}}, {}, 0, {}};
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < test.steps.size(); ++i) {
    const Step& step = test.steps[i];
    const auto handler = Handlers().find(step.call.name);
    context.results.clear();
    if (handler == Handlers().end()) context.trouble = "nothing here can make this call";
    const CK_RV rv = handler == Handlers().end() ? CKR_GENERAL_ERROR : handler->second(context, step.call, step.result);
    const bool right = context.trouble.empty() && ReturnValueFrom(step.result.Get("rv")) == rv;
    const std::string why = context.trouble.empty() ? "gives " + spec::ReturnValueName(rv) : context.trouble;
    findings.push_back({i, "rv", right, step.call.name + ": " + why + ", expected " + step.result.Get("rv")});
    if (!right) break;
    Judge(context, i, step, findings);
  }
  return findings;
}

}  // namespace cmkd::conformance
