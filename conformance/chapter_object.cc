// Object management (PKCS#11 3.2 section 5.7).
#include <algorithm>
#include <optional>

#include "conformance/domain.h"
#include "conformance/keys.h"
#include "conformance/plan.h"

namespace cmkd::conformance {
namespace {

constexpr CK_ATTRIBUTE_TYPE kUnknownAttribute = CKA_VENDOR_DEFINED | 0x7654321;

// Labels that no other run has left behind.
std::string Label(const char* what) { return std::string("conformance ") + what; }

Template Data(bool token, const std::string& label) {
  return Template()
      .Ulong(CKA_CLASS, CKO_DATA)
      .Bool(CKA_TOKEN, token)
      .Bool(CKA_PRIVATE, false)
      .Text(CKA_LABEL, label)
      .Text(CKA_VALUE, "some value");
}

CK_OBJECT_HANDLE Create(Trial& t, Template wanted) {
  CK_OBJECT_HANDLE made = 0;
  if (!WANT(t, CKR_OK, t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &made))) return 0;
  t.Check(made != 0, "a handle is not 0");
  return made;
}

CK_RV TryCreate(Trial& t, CK_SESSION_HANDLE session, Template wanted) {
  CK_OBJECT_HANDLE made = 0;
  const CK_RV rv = t.p11->C_CreateObject(session, wanted.data(), wanted.size(), &made);
  if (rv == CKR_OK) (void)t.p11->C_DestroyObject(session, made);
  return rv;
}

std::optional<Bytes> Read(Trial& t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE one{type, nullptr, 0};
  if (!WANT(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, object, &one, 1))) return std::nullopt;
  Bytes value(one.ulValueLen + 1);
  one.pValue = value.data();
  if (!WANT(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, object, &one, 1))) return std::nullopt;
  value.resize(one.ulValueLen);
  return value;
}

bool Is(Trial& t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, std::string_view text) {
  const auto value = Read(t, object, type);
  return value && AsText(*value) == text;
}

CK_RV Set(Trial& t, CK_OBJECT_HANDLE object, Template change) {
  return t.p11->C_SetAttributeValue(t.session, object, change.data(), change.size());
}

std::vector<CK_OBJECT_HANDLE> Find(Trial& t, CK_SESSION_HANDLE session, Template wanted) {
  std::vector<CK_OBJECT_HANDLE> found(200);
  CK_ULONG count = 0;
  if (!WANT(t, CKR_OK, t.p11->C_FindObjectsInit(session, wanted.data(), wanted.size()))) return {};
  WANT(t, CKR_OK, t.p11->C_FindObjects(session, found.data(), found.size(), &count));
  WANT(t, CKR_OK, t.p11->C_FindObjectsFinal(session));
  found.resize(count);
  return found;
}

CK_OBJECT_HANDLE Secret(Trial& t, bool sensitive, bool extractable, const Template& more = {}) {
  return Create(t, Template()
                       .Ulong(CKA_CLASS, CKO_SECRET_KEY)
                       .Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                       .Bool(CKA_TOKEN, false)
                       .Bool(CKA_SENSITIVE, sensitive)
                       .Bool(CKA_EXTRACTABLE, extractable)
                       .Raw(CKA_VALUE, Bytes(20, 0x5C))
                       .Add(more));
}

// ---- C_CreateObject

void AddCreate(Plan& plan) {
  plan.Add("C_CreateObject", "session-object", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("a")));
    t.Check(Is(t, object, CKA_LABEL, Label("a")) && Is(t, object, CKA_VALUE, "some value"),
            "the object has its attributes");
  });
  plan.Add("C_CreateObject", "token-object", [](Trial& t) {
    const auto object = Create(t, Data(true, Label("stored")));
    CK_SESSION_HANDLE other = t.OpenSession(0);
    t.Check(Find(t, other, Data(true, Label("stored"))).size() == 1, "another session finds it");
    (void)t.p11->C_CloseSession(other);
    WANT(t, CKR_OK, t.p11->C_DestroyObject(t.session, object));
  });
  plan.Add("C_CreateObject", "secret-key", [](Trial& t) {
    const auto key = Secret(t, false, true);
    t.Check(Read(t, key, CKA_VALUE) == Bytes(20, 0x5C), "the value can be read");
    t.Check(Read(t, key, CKA_LOCAL) == Bytes{CK_FALSE}, "CKA_LOCAL is false");
    t.Check(Read(t, key, CKA_ALWAYS_SENSITIVE) == Bytes{CK_FALSE}, "CKA_ALWAYS_SENSITIVE is false");
    t.Check(Read(t, key, CKA_NEVER_EXTRACTABLE) == Bytes{CK_FALSE}, "CKA_NEVER_EXTRACTABLE is false");
  });
  const auto refuses = [&](const char* name, std::initializer_list<CK_RV> wanted, std::function<Template()> make) {
    const std::vector<CK_RV> list(wanted);
    plan.Add("C_CreateObject", name, [list, make](Trial& t) {
      const CK_RV rv = TryCreate(t, t.session, make());
      if (std::find(list.begin(), list.end(), rv) == list.end()) t.Expect(rv, {list.front()}, "C_CreateObject");
    });
  };
  refuses("no-class", {CKR_TEMPLATE_INCOMPLETE}, [] { return Template().Bool(CKA_TOKEN, false).Text(CKA_LABEL, "x"); });
  refuses("no-key-type", {CKR_TEMPLATE_INCOMPLETE}, [] {
    return Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Bool(CKA_TOKEN, false).Raw(CKA_VALUE, Bytes(16, 1));
  });
  refuses("no-value", {CKR_TEMPLATE_INCOMPLETE}, [] {
    return Template().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
  });
  refuses("unknown-attribute", {CKR_ATTRIBUTE_TYPE_INVALID, CKR_TEMPLATE_INCONSISTENT},
          [] { return Data(false, "x").Raw(kUnknownAttribute, {1}); });
  refuses("boolean-of-wrong-size", {CKR_ATTRIBUTE_VALUE_INVALID}, [] {
    return Template()
        .Ulong(CKA_CLASS, CKO_DATA)
        .Raw(CKA_TOKEN, Bytes(8, 0))
        .Bool(CKA_PRIVATE, false)
        .Text(CKA_VALUE, "x");
  });
  refuses("unknown-class", {CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID},
          [] { return Template().Ulong(CKA_CLASS, CKO_VENDOR_DEFINED | 0x76543).Bool(CKA_TOKEN, false); });
  refuses("aes-key-of-a-wrong-length", {CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE, CKR_TEMPLATE_INCONSISTENT},
          [] {
            return Template()
                .Ulong(CKA_CLASS, CKO_SECRET_KEY)
                .Ulong(CKA_KEY_TYPE, CKK_AES)
                .Bool(CKA_TOKEN, false)
                .Raw(CKA_VALUE, Bytes(17, 1));
          });
  refuses("attribute-of-the-token", {CKR_ATTRIBUTE_READ_ONLY, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_TYPE_INVALID},
          [] {
            return Template()
                .Ulong(CKA_CLASS, CKO_SECRET_KEY)
                .Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                .Bool(CKA_TOKEN, false)
                .Raw(CKA_VALUE, Bytes(16, 1))
                .Bool(CKA_LOCAL, true);
          });
  plan.Add("C_CreateObject", "token-object-in-read-only-session", [](Trial& t) {
    CK_SESSION_HANDLE read_only = t.OpenSession(0);
    t.Expect(TryCreate(t, read_only, Data(true, Label("ro"))), {CKR_SESSION_READ_ONLY}, "C_CreateObject");
    t.Expect(TryCreate(t, read_only, Data(false, Label("ro"))), {CKR_OK}, "C_CreateObject");
    (void)t.p11->C_CloseSession(read_only);
  });
  plan.Add("C_CreateObject", "null-handle", [](Trial& t) {
    Template data = Data(false, Label("x"));
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_CreateObject(t.session, data.data(), data.size(), nullptr));
  });
  plan.Add("C_CreateObject", "null-template", [](Trial& t) {
    CK_OBJECT_HANDLE made = 0;
    WANT_ONE(t, (CKR_ARGUMENTS_BAD, CKR_TEMPLATE_INCOMPLETE), t.p11->C_CreateObject(t.session, nullptr, 3, &made));
  });
}

// ---- C_CopyObject, C_DestroyObject, C_GetObjectSize

CK_RV Copy(Trial& t, CK_OBJECT_HANDLE object, Template change, CK_OBJECT_HANDLE& copy) {
  return t.p11->C_CopyObject(t.session, object, change.data(), change.size(), &copy);
}

void AddCopy(Plan& plan) {
  plan.Add("C_CopyObject", "as-it-is", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("original")));
    CK_OBJECT_HANDLE copy = 0;
    NEED(t, CKR_OK, t.p11->C_CopyObject(t.session, object, nullptr, 0, &copy));
    t.Check(copy != object && Is(t, copy, CKA_LABEL, Label("original")),
            "the copy is another object with the same attributes");
  });
  plan.Add("C_CopyObject", "changed", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("original")));
    CK_OBJECT_HANDLE copy = 0;
    if (!t.Expect(Copy(t, object, Template().Text(CKA_LABEL, Label("copy")), copy), {CKR_OK}, "C_CopyObject")) return;
    t.Check(Is(t, copy, CKA_LABEL, Label("copy")), "the copy has the new label");
    t.Check(Is(t, object, CKA_LABEL, Label("original")), "the original keeps its own");
  });
  plan.Add("C_CopyObject", "session-to-token", [](Trial& t) {
    const auto key = Secret(t, true, true);
    CK_OBJECT_HANDLE copy = 0;
    if (!t.Expect(Copy(t, key, Template().Bool(CKA_TOKEN, true).Text(CKA_LABEL, Label("copied")), copy), {CKR_OK},
                  "C_CopyObject"))
      return;
    t.Check(Read(t, copy, CKA_TOKEN) == Bytes{CK_TRUE}, "the copy is a token object");
    WANT(t, CKR_OK, t.p11->C_DestroyObject(t.session, copy));
  });
  plan.Add("C_CopyObject", "not-copyable", [](Trial& t) {
    const auto key = Secret(t, false, true, Template().Bool(CKA_COPYABLE, false));
    CK_OBJECT_HANDLE copy = 0;
    t.Expect(Copy(t, key, Template(), copy), {CKR_ACTION_PROHIBITED}, "C_CopyObject");
  });
  plan.Add("C_CopyObject", "sensitive-only-grows", [](Trial& t) {
    const auto key = Secret(t, true, false);
    CK_OBJECT_HANDLE copy = 0;
    t.ExpectRefusal(Copy(t, key, Template().Bool(CKA_SENSITIVE, false), copy), "C_CopyObject");
    t.ExpectRefusal(Copy(t, key, Template().Bool(CKA_EXTRACTABLE, true), copy), "C_CopyObject");
    const auto open = Secret(t, false, true);
    t.Expect(Copy(t, open, Template().Bool(CKA_SENSITIVE, true).Bool(CKA_EXTRACTABLE, false), copy), {CKR_OK},
             "C_CopyObject");
    t.Check(Read(t, copy, CKA_SENSITIVE) == Bytes{CK_TRUE}, "the copy is sensitive");
  });
  plan.Add("C_CopyObject", "invalid-object", [](Trial& t) {
    CK_OBJECT_HANDLE copy = 0;
    t.Expect(Copy(t, 0x7ead0001, Template(), copy), {CKR_OBJECT_HANDLE_INVALID}, "C_CopyObject");
  });
  plan.Add("C_CopyObject", "null-handle", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_CopyObject(t.session, object, nullptr, 0, nullptr));
  });
  plan.Add("C_DestroyObject", "destroys", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    NEED(t, CKR_OK, t.p11->C_DestroyObject(t.session, object));
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_DestroyObject(t.session, object));
    CK_ATTRIBUTE label{CKA_LABEL, nullptr, 0};
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetAttributeValue(t.session, object, &label, 1));
  });
  plan.Add("C_DestroyObject", "not-destroyable", [](Trial& t) {
    const auto key = Secret(t, false, true, Template().Bool(CKA_DESTROYABLE, false));
    WANT(t, CKR_ACTION_PROHIBITED, t.p11->C_DestroyObject(t.session, key));
  });
  plan.Add("C_DestroyObject", "token-object-in-read-only-session", [](Trial& t) {
    const auto object = Create(t, Data(true, Label("kept")));
    CK_SESSION_HANDLE read_only = t.OpenSession(0);
    WANT(t, CKR_SESSION_READ_ONLY, t.p11->C_DestroyObject(read_only, object));
    WANT(t, CKR_OK, t.p11->C_DestroyObject(t.session, object));
    (void)t.p11->C_CloseSession(read_only);
  });
  plan.Add("C_GetObjectSize", "of-an-object", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    CK_ULONG size = 0;
    WANT_ONE(t, (CKR_OK, CKR_INFORMATION_SENSITIVE), t.p11->C_GetObjectSize(t.session, object, &size));
  });
  plan.Add("C_GetObjectSize", "invalid-object", [](Trial& t) {
    CK_ULONG size = 0;
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetObjectSize(t.session, 0x7ead0001, &size));
  });
  plan.Add("C_GetObjectSize", "null", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_GetObjectSize(t.session, object, nullptr));
  });
}

// ---- C_GetAttributeValue

void AddGet(Plan& plan) {
  plan.Add("C_GetAttributeValue", "length-then-value", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    CK_ATTRIBUTE value{CKA_VALUE, nullptr, 0};
    NEED(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, object, &value, 1));
    t.Check(value.ulValueLen == 10, "the length is that of the value");
    Bytes bytes(10);
    value.pValue = bytes.data();
    NEED(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, object, &value, 1));
    t.Check(AsText(bytes) == "some value", "the value is the one given");
  });
  plan.Add("C_GetAttributeValue", "buffer-too-small", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    Bytes shorter(9, 0xEE), label(100);
    CK_ATTRIBUTE both[] = {{CKA_VALUE, shorter.data(), shorter.size()}, {CKA_LABEL, label.data(), label.size()}};
    WANT(t, CKR_BUFFER_TOO_SMALL, t.p11->C_GetAttributeValue(t.session, object, both, 2));
    t.Check(both[0].ulValueLen == CK_UNAVAILABLE_INFORMATION,
            "the length of what did not fit is CK_UNAVAILABLE_INFORMATION");
    t.Check(shorter == Bytes(9, 0xEE), "nothing is written into too small a buffer");
    t.Check(both[1].ulValueLen == Label("x").size(), "the rest of the template is filled");
  });
  plan.Add("C_GetAttributeValue", "unknown-in-the-middle", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x")));
    Bytes value(100), label(100), nothing(8);
    CK_ATTRIBUTE three[] = {{CKA_VALUE, value.data(), value.size()},
                            {kUnknownAttribute, nothing.data(), nothing.size()},
                            {CKA_LABEL, label.data(), label.size()}};
    WANT(t, CKR_ATTRIBUTE_TYPE_INVALID, t.p11->C_GetAttributeValue(t.session, object, three, 3));
    t.Check(three[0].ulValueLen == 10, "what stands before is filled");
    t.Check(three[1].ulValueLen == CK_UNAVAILABLE_INFORMATION, "the unknown one has CK_UNAVAILABLE_INFORMATION");
    t.Check(three[2].ulValueLen == Label("x").size(), "what stands behind is filled");
  });
  plan.Add("C_GetAttributeValue", "sensitive", [](Trial& t) {
    const auto key = Secret(t, true, true);
    Bytes value(100, 0xEE);
    CK_ULONG key_type = 0;
    CK_ATTRIBUTE both[] = {{CKA_VALUE, value.data(), value.size()}, {CKA_KEY_TYPE, &key_type, sizeof key_type}};
    WANT(t, CKR_ATTRIBUTE_SENSITIVE, t.p11->C_GetAttributeValue(t.session, key, both, 2));
    t.Check(both[0].ulValueLen == CK_UNAVAILABLE_INFORMATION, "the length is CK_UNAVAILABLE_INFORMATION");
    t.Check(value == Bytes(100, 0xEE), "nothing of the value comes out");
    t.Check(key_type == CKK_GENERIC_SECRET, "the rest of the template is filled");
    CK_ATTRIBUTE length{CKA_VALUE, nullptr, 0};
    WANT(t, CKR_ATTRIBUTE_SENSITIVE, t.p11->C_GetAttributeValue(t.session, key, &length, 1));
  });
  plan.Add("C_GetAttributeValue", "unextractable", [](Trial& t) {
    const auto key = Secret(t, false, false);
    Bytes value(100);
    CK_ATTRIBUTE one{CKA_VALUE, value.data(), value.size()};
    WANT(t, CKR_ATTRIBUTE_SENSITIVE, t.p11->C_GetAttributeValue(t.session, key, &one, 1));
  });
  plan.Add("C_GetAttributeValue", "invalid-object", [](Trial& t) {
    CK_ATTRIBUTE label{CKA_LABEL, nullptr, 0};
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetAttributeValue(t.session, 0x7ead0001, &label, 1));
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetAttributeValue(t.session, 0, &label, 1));
  });
  plan.Add("C_GetAttributeValue", "unique-id", [](Trial& t) {
    const auto object = Create(t, Data(false, Label("x"))), other = Create(t, Data(false, Label("x")));
    CK_ATTRIBUTE id{CKA_UNIQUE_ID, nullptr, 0};
    const CK_RV rv = t.p11->C_GetAttributeValue(t.session, object, &id, 1);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID) return t.NotOffered("there is no CKA_UNIQUE_ID");
    t.Check(Read(t, object, CKA_UNIQUE_ID) != Read(t, other, CKA_UNIQUE_ID), "each object has its own CKA_UNIQUE_ID");
  });
}

// ---- C_SetAttributeValue

void AddSet(Plan& plan) {
  plan.Add("C_SetAttributeValue", "label", [](Trial& t) {
    const auto key = Secret(t, true, true);
    if (!t.Expect(Set(t, key, Template().Text(CKA_LABEL, "new").Raw(CKA_ID, {9, 8})), {CKR_OK}, "C_SetAttributeValue"))
      return;
    t.Check(Is(t, key, CKA_LABEL, "new") && Read(t, key, CKA_ID) == Bytes{9, 8}, "the attributes are the new ones");
  });
  plan.Add("C_SetAttributeValue", "read-only-attribute", [](Trial& t) {
    const auto key = Secret(t, true, true);
    for (const CK_ATTRIBUTE_TYPE type : {CKA_CLASS, CKA_KEY_TYPE})
      t.Expect(Set(t, key, Template().Ulong(type, 1)), {CKR_ATTRIBUTE_READ_ONLY}, "C_SetAttributeValue");
    t.Expect(Set(t, key, Template().Bool(CKA_LOCAL, true)), {CKR_ATTRIBUTE_READ_ONLY}, "C_SetAttributeValue");
    t.Expect(Set(t, key, Template().Raw(CKA_VALUE, Bytes(20, 1))), {CKR_ATTRIBUTE_READ_ONLY}, "C_SetAttributeValue");
  });
  plan.Add("C_SetAttributeValue", "sensitive-only-grows", [](Trial& t) {
    const auto open = Secret(t, false, true);
    if (!t.Expect(Set(t, open, Template().Bool(CKA_SENSITIVE, true)), {CKR_OK}, "C_SetAttributeValue")) return;
    if (!t.Expect(Set(t, open, Template().Bool(CKA_EXTRACTABLE, false)), {CKR_OK}, "C_SetAttributeValue")) return;
    t.Expect(Set(t, open, Template().Bool(CKA_SENSITIVE, false)), {CKR_ATTRIBUTE_READ_ONLY}, "C_SetAttributeValue");
    t.Expect(Set(t, open, Template().Bool(CKA_EXTRACTABLE, true)), {CKR_ATTRIBUTE_READ_ONLY}, "C_SetAttributeValue");
  });
  plan.Add("C_SetAttributeValue", "not-modifiable", [](Trial& t) {
    const auto key = Secret(t, true, true, Template().Bool(CKA_MODIFIABLE, false));
    t.Expect(Set(t, key, Template().Text(CKA_LABEL, "new")), {CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY},
             "C_SetAttributeValue");
  });
  plan.Add("C_SetAttributeValue", "all-or-nothing", [](Trial& t) {
    const auto key = Secret(t, true, true, Template().Text(CKA_LABEL, "old"));
    t.ExpectRefusal(Set(t, key, Template().Text(CKA_LABEL, "new").Ulong(CKA_CLASS, CKO_DATA)), "C_SetAttributeValue");
    t.Check(Is(t, key, CKA_LABEL, "old"), "a template that fails changes nothing");
  });
  plan.Add("C_SetAttributeValue", "unknown-attribute", [](Trial& t) {
    const auto key = Secret(t, true, true);
    t.Expect(Set(t, key, Template().Raw(kUnknownAttribute, {1})), {CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_READ_ONLY},
             "C_SetAttributeValue");
  });
  plan.Add("C_SetAttributeValue", "token-object-in-read-only-session", [](Trial& t) {
    const auto object = Create(t, Data(true, Label("kept")));
    CK_SESSION_HANDLE read_only = t.OpenSession(0);
    Template change = Template().Text(CKA_LABEL, "new");
    WANT(t, CKR_SESSION_READ_ONLY, t.p11->C_SetAttributeValue(read_only, object, change.data(), change.size()));
    (void)t.p11->C_DestroyObject(t.session, object);
    (void)t.p11->C_CloseSession(read_only);
  });
  plan.Add("C_SetAttributeValue", "invalid-object", [](Trial& t) {
    t.Expect(Set(t, 0x7ead0001, Template().Text(CKA_LABEL, "new")), {CKR_OBJECT_HANDLE_INVALID}, "C_SetAttributeValue");
  });
}

// ---- C_FindObjects

void AddFind(Plan& plan) {
  plan.Add("C_FindObjects", "by-label", [](Trial& t) {
    std::vector<CK_OBJECT_HANDLE> made;
    for (int i = 0; i < 5; ++i) made.push_back(Create(t, Data(false, Label("many"))));
    Create(t, Data(false, Label("another")));
    auto found = Find(t, t.session, Template().Text(CKA_LABEL, Label("many")));
    std::sort(found.begin(), found.end());
    std::sort(made.begin(), made.end());
    t.Check(found == made, "exactly the objects with that label are found");
  });
  plan.Add("C_FindObjects", "in-small-bites", [](Trial& t) {
    std::vector<CK_OBJECT_HANDLE> made, found;
    for (int i = 0; i < 5; ++i) made.push_back(Create(t, Data(false, Label("bites"))));
    Template wanted = Template().Text(CKA_LABEL, Label("bites"));
    NEED(t, CKR_OK, t.p11->C_FindObjectsInit(t.session, wanted.data(), wanted.size()));
    for (;;) {
      CK_OBJECT_HANDLE two[2];
      CK_ULONG count = 0;
      NEED(t, CKR_OK, t.p11->C_FindObjects(t.session, two, 2, &count));
      if (count == 0) break;
      found.insert(found.end(), two, two + count);
      // Attributes are read while the search is open.
      Read(t, two[0], CKA_LABEL);
    }
    CK_OBJECT_HANDLE one;
    CK_ULONG count = 99;
    WANT(t, CKR_OK, t.p11->C_FindObjects(t.session, &one, 1, &count));
    t.Check(count == 0, "a search that is through stays so");
    WANT(t, CKR_OK, t.p11->C_FindObjectsFinal(t.session));
    std::sort(found.begin(), found.end());
    std::sort(made.begin(), made.end());
    t.Check(found == made, "each object comes once");
  });
  plan.Add("C_FindObjects", "not-initialised", [](Trial& t) {
    CK_OBJECT_HANDLE one;
    CK_ULONG count = 0;
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_FindObjects(t.session, &one, 1, &count));
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_FindObjectsFinal(t.session));
  });
  plan.Add("C_FindObjectsInit", "operation-active", [](Trial& t) {
    NEED(t, CKR_OK, t.p11->C_FindObjectsInit(t.session, nullptr, 0));
    WANT(t, CKR_OPERATION_ACTIVE, t.p11->C_FindObjectsInit(t.session, nullptr, 0));
    WANT(t, CKR_OK, t.p11->C_FindObjectsFinal(t.session));
    WANT(t, CKR_OPERATION_NOT_INITIALIZED, t.p11->C_FindObjectsFinal(t.session));
  });
  plan.Add("C_FindObjectsInit", "null-template",
           [](Trial& t) { WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_FindObjectsInit(t.session, nullptr, 2)); });
  plan.Add("C_FindObjects", "null", [](Trial& t) {
    CK_OBJECT_HANDLE one;
    NEED(t, CKR_OK, t.p11->C_FindObjectsInit(t.session, nullptr, 0));
    WANT(t, CKR_ARGUMENTS_BAD, t.p11->C_FindObjects(t.session, &one, 1, nullptr));
  });
  plan.Add("C_FindObjects", "sensitive-values-are-not-found", [](Trial& t) {
    Secret(t, true, true, Template().Text(CKA_LABEL, Label("hidden")));
    Template guess = Template().Text(CKA_LABEL, Label("hidden")).Raw(CKA_VALUE, Bytes(20, 0x5C));
    CK_OBJECT_HANDLE one;
    CK_ULONG count = 0;
    const CK_RV rv = t.p11->C_FindObjectsInit(t.session, guess.data(), guess.size());
    if (rv != CKR_OK) return;
    NEED(t, CKR_OK, t.p11->C_FindObjects(t.session, &one, 1, &count));
    t.Check(count == 0, "a search does not tell a sensitive value");
  });
}

// ---- Objects that are the token's own, and trust (3.2, "Profile objects", "Mechanism objects", "Validation objects",
// "Trust objects")

void CannotBeTouched(Trial& t, CK_OBJECT_HANDLE object) {
  CK_OBJECT_HANDLE copy = 0;
  Template label = Template().Text(CKA_LABEL, "mine");
  t.ExpectRefusal(Set(t, object, label), "C_SetAttributeValue");
  WANT_REFUSAL(t, t.p11->C_CopyObject(t.session, object, nullptr, 0, &copy));
  WANT_REFUSAL(t, t.p11->C_DestroyObject(t.session, object));
}

void TokensOwn(Trial& t, CK_OBJECT_CLASS object_class, CK_ATTRIBUTE_TYPE names_it) {
  const auto found = Find(t, t.session, Template().Ulong(CKA_CLASS, object_class));
  if (found.empty()) return t.NotOffered("no objects of this class");
  std::vector<Bytes> names;
  for (const CK_OBJECT_HANDLE object : found) {
    const auto name = Read(t, object, names_it);
    if (!t.Check(name && name->size() == sizeof(CK_ULONG), "the attribute that names it is a CK_ULONG")) return;
    names.push_back(*name);
  }
  std::sort(names.begin(), names.end());
  t.Check(std::adjacent_find(names.begin(), names.end()) == names.end(), "no two objects say the same");
  CannotBeTouched(t, found.front());
  t.ExpectRefusal(TryCreate(t, t.session, Template().Ulong(CKA_CLASS, object_class)), "C_CreateObject");
}

Template Trust() {
  return Template()
      .Ulong(CKA_CLASS, CKO_TRUST)
      .Bool(CKA_TOKEN, false)
      .Raw(CKA_ISSUER, {0x30, 0x00})
      .Raw(CKA_SERIAL_NUMBER, {0x02, 0x01, 0x01});
}

void AddOwnObjects(Plan& plan) {
  plan.Add("C_FindObjects", "profile-objects", [](Trial& t) { TokensOwn(t, CKO_PROFILE, CKA_PROFILE_ID); });
  plan.Add("C_FindObjects", "mechanism-objects", [](Trial& t) { TokensOwn(t, CKO_MECHANISM, CKA_MECHANISM_TYPE); });
  plan.Add("C_FindObjects", "validation-objects", [](Trial& t) { TokensOwn(t, CKO_VALIDATION, CKA_VALIDATION_FLAG); });
  plan.Add("C_CreateObject", "trust", [](Trial& t) {
    CK_OBJECT_HANDLE made = 0;
    Template wanted = Trust().Raw(CKA_HASH_OF_CERTIFICATE, Bytes(32, 1)).Ulong(CKA_NAME_HASH_ALGORITHM, CKM_SHA256);
    wanted.Ulong(CKA_TRUST_SERVER_AUTH, CKT_TRUST_ANCHOR);
    const CK_RV rv = t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &made);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_TEMPLATE_INCONSISTENT)
      return t.NotOffered("no objects of this class");
    if (!t.Expect(rv, {CKR_OK}, "C_CreateObject")) return;
    CK_ULONG trust = 0;
    CK_ATTRIBUTE one{CKA_TRUST_CODE_SIGNING, &trust, sizeof trust};
    const CK_RV absent = t.p11->C_GetAttributeValue(t.session, made, &one, 1);
    t.Check(absent != CKR_OK || trust == CKT_TRUST_UNKNOWN, "what is not given is CKT_TRUST_UNKNOWN");
    t.Check(Find(t, t.session, Trust()) == std::vector<CK_OBJECT_HANDLE>{made}, "issuer and serial number find it");
    t.Expect(TryCreate(t, t.session, Trust().Ulong(CKA_TRUST_SERVER_AUTH, CKT_TRUSTED)), {CKR_TEMPLATE_INCOMPLETE},
             "C_CreateObject of trust without a hash");
    WANT(t, CKR_OK, t.p11->C_DestroyObject(t.session, made));
  });
  plan.Add("C_CreateObject", "domain-parameters", [](Trial& t) {
    Template wanted = Template().Ulong(CKA_CLASS, CKO_DOMAIN_PARAMETERS).Ulong(CKA_KEY_TYPE, CKK_DSA);
    wanted.Bool(CKA_TOKEN, false).Add(DomainOf(CKK_DSA));
    CK_OBJECT_HANDLE made = 0;
    const CK_RV rv = t.p11->C_CreateObject(t.session, wanted.data(), wanted.size(), &made);
    if (rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_TEMPLATE_INCONSISTENT)
      return t.NotOffered("no objects of this class");
    if (!t.Expect(rv, {CKR_OK}, "C_CreateObject")) return;
    const auto local = Read(t, made, CKA_LOCAL);
    t.Check(local == Bytes{CK_FALSE}, "CKA_LOCAL of what was created is false");
  });
}

void AddPublicSession(Plan& plan) {
  plan.Chapter("object management", Stage::kPublic);
  plan.Add("C_CreateObject", "private-object-without-login", [](Trial& t) {
    Template wanted;
    wanted.Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, false).Bool(CKA_PRIVATE, true).Text(CKA_VALUE, "x");
    t.Expect(TryCreate(t, t.session, wanted), {CKR_USER_NOT_LOGGED_IN}, "C_CreateObject");
  });
  plan.Add("C_FindObjects", "private-objects-are-hidden", [](Trial& t) {
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    Template wanted = Template().Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, true).Text(CKA_LABEL, Label("private"));
    Template hidden = wanted;
    const auto object = Create(t, hidden.Bool(CKA_PRIVATE, true).Text(CKA_VALUE, "x"));
    Template shown = wanted;
    const auto open = Create(t, shown.Bool(CKA_PRIVATE, false).Text(CKA_VALUE, "x"));
    NEED(t, CKR_OK, t.p11->C_Logout(t.session));
    t.Check(Find(t, t.session, wanted) == std::vector<CK_OBJECT_HANDLE>{open},
            "without login only public objects are found");
    CK_ATTRIBUTE label{CKA_LABEL, nullptr, 0};
    WANT(t, CKR_OBJECT_HANDLE_INVALID, t.p11->C_GetAttributeValue(t.session, object, &label, 1));
    NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
    for (const CK_OBJECT_HANDLE one : Find(t, t.session, wanted))
      WANT(t, CKR_OK, t.p11->C_DestroyObject(t.session, one));
  });
}

}  // namespace

void AddObject(Plan& plan) {
  plan.Chapter("object management", Stage::kUser);
  AddCreate(plan);
  AddCopy(plan);
  AddGet(plan);
  AddSet(plan);
  AddFind(plan);
  AddOwnObjects(plan);
  AddPublicSession(plan);
}

}  // namespace cmkd::conformance
