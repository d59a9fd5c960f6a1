// What the device says of its own validation; the counter has counter_test.cc.
#include "firmware_sim/device_objects.h"

#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class DeviceObjectsTest : public DeviceTest {};

TEST_F(DeviceObjectsTest, TheValidationIsThatThereIsNone) {
  const auto found = Find(T().Ulong(CKA_CLASS, CKO_VALIDATION));
  ASSERT_EQ(found.size(), 1u);
  const CK_OBJECT_HANDLE validation = found.front();
  const auto number = [&](CK_ATTRIBUTE_TYPE type) {
    CK_ULONG value = 99;
    const Bytes bytes = Attribute(validation, type);
    if (bytes.size() == sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  };
  EXPECT_EQ(number(CKA_VALIDATION_TYPE), CKV_TYPE_SOFTWARE);
  EXPECT_EQ(number(CKA_VALIDATION_AUTHORITY_TYPE), CKV_AUTHORITY_TYPE_UNSPECIFIED);
  EXPECT_EQ(number(CKA_VALIDATION_LEVEL), 0u);
  EXPECT_EQ(number(CKA_VALIDATION_FLAG), 0u) << "no operation meets it";
  EXPECT_TRUE(Attribute(validation, CKA_VALIDATION_CERTIFICATE_IDENTIFIER).empty());
  EXPECT_TRUE(Attribute(validation, CKA_VALIDATION_CERTIFICATE_URI).empty());
  const Bytes module = Attribute(validation, CKA_VALIDATION_MODULE_ID);
  EXPECT_NE(std::string(AsText(module)).find("not validated"), std::string::npos);
  // Nobody changes or takes it away, and a list of everything does not show it.
  T level;
  level.Ulong(CKA_VALIDATION_LEVEL, 3);
  EXPECT_NE(f->C_SetAttributeValue(session, validation, level.data(), level.size()), CKR_OK);
  EXPECT_NE(f->C_DestroyObject(session, validation), CKR_OK);
  EXPECT_TRUE(Find(T()).empty());
}

}  // namespace
}  // namespace cmkd::sim
