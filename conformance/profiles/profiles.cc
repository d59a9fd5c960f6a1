// A case is "C_GetTokenInfo.BL-M-1-32/6/TokenInfo/Flags": the function, the test case, the number of the step, the
// item. Each runs its whole test case and judges one item, so that one that is wrong hides no other.
#include "conformance/profiles/profiles.h"

#include <algorithm>
#include <filesystem>

#include "conformance/profiles/executor.h"
#include "conformance/profiles/vocabulary.h"

namespace cmkd::conformance {
namespace {

bool Create(Trial& t, CK_SESSION_HANDLE session, Template wanted) {
  CK_OBJECT_HANDLE made = 0;
  wanted.Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false);
  return WANT(t, CKR_OK, t.p11->C_CreateObject(session, wanted.data(), wanted.size(), &made));
}

// The value that a test case expects of an attribute: what a token must hold for it.
Bytes ExpectedValue(const TestCase& test, const std::string& type) {
  for (const Step& step : test.steps) {
    const Element* attributes = step.result.Find("Template");
    for (const Element& one : attributes == nullptr ? std::vector<Element>() : attributes->children) {
      if (one.Get("type") == type && one.Has("value")) return FromHex(one.Get("value")).value_or(Bytes());
    }
  }
  return {};
}

// Public Certificates: a list of roots (its label as NSS's own, with the terminator) and certificates after it.
void PrepareCertificates(Trial& t, CK_SESSION_HANDLE session, const TestCase& test) {
  const std::string label("Mozilla Builtin Roots\0", 22);
  if (!Create(t, session, Template().Ulong(CKA_CLASS, CKO_DATA).Text(CKA_LABEL, label).Text(CKA_VALUE, "roots")))
    return;
  const Bytes certificate = ExpectedValue(test, "VALUE");
  for (int i = 0; i < 4; ++i) {
    Template one;
    one.Ulong(CKA_CLASS, CKO_CERTIFICATE)
        .Ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
        .Text(CKA_LABEL, "root " + std::to_string(i));
    one.Raw(CKA_SUBJECT, {0x30, 0x00}).Raw(CKA_ID, {static_cast<std::uint8_t>(i)}).Raw(CKA_VALUE, certificate);
    if (!Create(t, session, one)) return;
  }
}

// Authentication Token: a key pair with these labels.
void PrepareKeyPair(Trial& t, CK_SESSION_HANDLE session) {
  Template first, second;
  first.Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, false).Text(CKA_LABEL, "testrsa-pub").Bool(CKA_VERIFY, true);
  first.Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1});
  second.Bool(CKA_TOKEN, true).Bool(CKA_PRIVATE, true).Text(CKA_LABEL, "testrsa-pri").Bool(CKA_SIGN, true);
  CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  WANT(t, CKR_OK,
       t.p11->C_GenerateKeyPair(session, &mechanism, first.data(), first.size(), second.data(), second.size(),
                                &public_key, &private_key));
}

void PrepareToken(Trial& t, const std::vector<TestCase>& tests) {
  NEED(t, CKR_OK, t.Login(t.session, CKU_USER, t.settings.pin));
  for (const TestCase& test : tests) {
    if (test.name.starts_with("CERT-")) PrepareCertificates(t, t.session, test);
  }
  for (const TestCase& test : tests) {
    if (test.name.starts_with("AUTH-")) PrepareKeyPair(t, t.session);
  }
}

void AddItem(Plan& plan, const TestCase& test, std::size_t step, const std::string& item) {
  plan.Add(test.steps[step].call.name, test.name + '/' + std::to_string(step + 1) + '/' + item, [=](Trial& t) {
    const auto findings = RunTestCase(t, test);
    for (const Finding& finding : findings) {
      if (finding.step == step && finding.item == item) return (void)t.Check(finding.right, finding.message);
    }
    t.Check(false, "not reached: " + findings.back().message);
  });
}

}  // namespace

Result<void, std::string> AddProfiles(Plan& plan, const std::string& directory) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".xml") files.push_back(entry.path());
  }
  if (files.empty()) return Failure{directory + " has no test cases"};
  std::sort(files.begin(), files.end());
  std::vector<TestCase> tests;
  for (const auto& file : files) {
    ASSIGN_OR_RETURN(TestCase test, ReadTestCase(file.string()));
    tests.push_back(std::move(test));
  }
  plan.Chapter("profiles", Stage::kPublic);
  plan.Add("C_CreateObject", "what-profiles-presuppose", [tests](Trial& t) { PrepareToken(t, tests); });
  for (const TestCase& test : tests) {
    plan.Chapter("profile " + test.name, Stage::kLoaded);
    for (std::size_t i = 0; i < test.steps.size(); ++i) {
      for (const std::string& item : ItemsOf(test.steps[i])) AddItem(plan, test, i, item);
    }
  }
  return {};
}

}  // namespace cmkd::conformance
