// What the administrative verbs share: arguments out of JSON, look-ups by name, and how tokens and keys are described.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/dispatch/invocation.h"

namespace cmkd::daemon {

using Json = nlohmann::json;

// ---- Arguments: CKR_ARGUMENTS_BAD with a sentence when one is missing or of another type.

// The fallback stands for an argument that is absent; without one the argument must be there.
Fallible<std::string> TextArgument(const Json& arguments, const char* name, const char* fallback = nullptr);
Fallible<std::optional<std::int64_t>> NumberArgument(const Json& arguments, const char* name);
// A number within bounds, or nothing.
Fallible<std::optional<std::int64_t>> BoundedArgument(const Json& arguments, const char* name, std::int64_t least,
                                                      std::int64_t most);
Fallible<bool> FlagArgument(const Json& arguments, const char* name, bool fallback);

// One administrative request while it is answered.
struct AdminCall {
  Invocation& invocation;
  const Json& arguments;
  RequestName request;  // empty when the client gave none

  Daemon& daemon() const { return invocation.daemon; }
  // From here on the store changes: the audit record is on disk before the answer.
  void WillChange() const { invocation.changed = true; }
};

// ---- Look-ups; each notes in the audit record what it found.

// A token by label or id; without a name, the only one there is.
Fallible<Records::TokenPtr> FindToken(const AdminCall& call, const std::string& name);
// A key by id, by name, or by token/name, from the argument "key". Names of destroyed keys are free again and do not
// count.
Fallible<cmk::CmkId> FindKey(const AdminCall& call, const char* argument = "key");

// What belongs to a service is changed by its owner and by root: kServiceOwned for everybody else.
bool IsOwner(const AdminCall& call, const cmk::Cmk& key);
// FindKey, for a change that the lifecycle itself does not ask an owner for.
Fallible<cmk::CmkId> FindKeyToChange(const AdminCall& call, const char* argument = "key");
// A set of words that applications and services share with the daemon: "svc/", "sys/", "kms-".
bool IsReservedName(std::string_view name);

// ---- Descriptions

// Whether the key is one of a pair, by its spec.
bool IsPair(const cmk::Cmk& key);

// "customer", "service", "default".
std::string_view ClassText(cmk::KeyClass key_class);
// UTC by RFC 3339, in seconds; null for a time that is not.
std::string TimeText(Timestamp time);
Json TimeOrNull(std::optional<Timestamp> time);
// What a client is shown of them; nothing secret is in it.
Json DescribeToken(const Invocation& invocation, const store::TokenRecord& token);
// `whole`: with versions and everything that a list leaves out.
Json DescribeKey(const Invocation& invocation, const cmk::Cmk& key, bool whole);

// ---- Verbs

struct Verb {
  std::string_view name;
  Fallible<Json> (*answer)(const AdminCall&);
  bool reserved = false;  // may use the room kept on the disk: disable and cancel must go on when it is full
  bool dry_run = false;   // can say what it would do
};

// The verbs of each *_verbs.cc; kVerbs of admin.cc puts them together.
std::span<const Verb> TokenVerbs();
std::span<const Verb> KeyVerbs();
std::span<const Verb> LifeVerbs();
std::span<const Verb> ListVerbs();
std::span<const Verb> ImportVerbs();
std::span<const Verb> AuditVerbs();
std::span<const Verb> HsmVerbs();
std::span<const Verb> MirrorVerbs();
std::span<const Verb> DestroyVerbs();

}  // namespace cmkd::daemon
