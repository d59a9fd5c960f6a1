// The order of the chapters is the standard's.
#include "conformance/plan.h"

namespace cmkd::conformance {

Plan MakePlan(const Survey& survey) {
  Plan plan(survey);
  AddGeneralPurpose(plan);
  AddSlotAndToken(plan);
  AddSession(plan);
  AddObject(plan);
  AddCipher(plan);
  AddDigest(plan);
  AddSignature(plan);
  AddOneTimePasswords(plan);
  AddDual(plan);
  AddMessage(plan);
  AddKeyManagement(plan);
  AddDerivation(plan);
  AddEncapsulation(plan);
  AddProcesses(plan);
  return plan;
}

}  // namespace cmkd::conformance
