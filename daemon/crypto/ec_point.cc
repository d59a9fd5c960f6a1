// OpenSSL decodes no point that is not on the curve.
#include "daemon/crypto/ec_point.h"

#include <openssl/ec.h>
#include <openssl/objects.h>

#include <memory>
#include <string>

namespace cmkd::daemon {

bool IsOnCurve(std::string_view curve, ByteView point) {
  const int nid = EC_curve_nist2nid(std::string(curve).c_str());
  if (nid == NID_undef) return true;
  const std::unique_ptr<EC_GROUP, decltype(&EC_GROUP_free)> group(EC_GROUP_new_by_curve_name(nid), &EC_GROUP_free);
  if (group == nullptr) return true;
  const std::unique_ptr<EC_POINT, decltype(&EC_POINT_free)> decoded(EC_POINT_new(group.get()), &EC_POINT_free);
  return decoded != nullptr &&
         EC_POINT_oct2point(group.get(), decoded.get(), point.data(), point.size(), nullptr) == 1 &&
         EC_POINT_is_at_infinity(group.get(), decoded.get()) == 0;
}

}  // namespace cmkd::daemon
