// The verb that lists keys: filters, all of which must fit, and pages.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "daemon/admin/verbs.h"
#include "daemon/service/key_specs.h"
#include "daemon/service/lifecycle_attributes.h"
#include "daemon/service/translate.h"

namespace cmkd::daemon {

namespace {

// The keys of one page; the store is let go before they are described.
Fallible<std::vector<cmk::Cmk>> ReadPage(const AdminCall& call, const std::optional<cmk::TokenId>& token,
                                         const cmk::CmkId& after, std::size_t limit) {
  STORE_OR_RETURN(const auto read, call.daemon().store.BeginRead());
  STORE_OR_RETURN(auto page, token ? read->ListCmksOfToken(*token, after, limit) : read->ListCmks(after, limit));
  return page;
}

// What is asked of each key; empty texts ask nothing.
struct Filter {
  std::string state;
  std::string tag;        // "name" or "name=value"
  std::string name;       // a part of its name or of an alias, or of its id
  std::string spec;       // whatever the case
  std::string key_class;  // customer, service, default
  std::string origin;     // as key.show says it
};

bool HasTag(const cmk::Cmk& key, std::string_view wanted) {
  if (wanted.empty()) return true;
  const std::size_t equals = std::min(wanted.size(), wanted.find('='));
  return std::any_of(key.tags.begin(), key.tags.end(), [&](const auto& tag) {
    return tag.first == wanted.substr(0, equals) &&
           (equals == wanted.size() || tag.second == wanted.substr(equals + 1));
  });
}

bool HasName(const cmk::Cmk& key, const std::string& part) {
  const auto has = [&](const std::string& text) { return text.find(part) != std::string::npos; };
  return part.empty() || has(key.name) || has(key.id.ToHex()) ||
         std::any_of(key.aliases.begin(), key.aliases.end(), has);
}

bool Fits(const Daemon& daemon, const cmk::Cmk& key, const Filter& filter) {
  return HasTag(key, filter.tag) && HasName(key, filter.name) && (filter.spec.empty() || key.spec == filter.spec) &&
         (filter.key_class.empty() || ClassText(key.key_class) == filter.key_class) &&
         (filter.origin.empty() || OriginText(key.origin) == filter.origin) &&
         (filter.state.empty() || ShownState(daemon, key) == filter.state);
}

Fallible<Filter> ReadFilter(const AdminCall& call) {
  Filter filter;
  struct Row {
    const char* name;
    std::string* text;
  };
  for (const Row& row : {Row{"state", &filter.state}, Row{"tag", &filter.tag}, Row{"name", &filter.name},
                         Row{"spec", &filter.spec}, Row{"class", &filter.key_class}, Row{"origin", &filter.origin}}) {
    ASSIGN_OR_RETURN(*row.text, TextArgument(call.arguments, row.name, ""));
  }
  if (!filter.state.empty() && filter.state != kUnavailable && !cmk::CmkStateFromName(filter.state))
    return Fail(CKR_ARGUMENTS_BAD, "there is no state " + filter.state);
  if (!filter.spec.empty()) {
    const KeySpec* spec = FindKeySpec(filter.spec);
    if (spec == nullptr) return Fail(CKR_ARGUMENTS_BAD, "there is no key spec " + filter.spec);
    filter.spec = spec->name;
  }
  if (!filter.key_class.empty() && filter.key_class != "customer" && filter.key_class != "service" &&
      filter.key_class != "default")
    return Fail(CKR_ARGUMENTS_BAD, "a class is customer, service or default");
  return filter;
}

Fallible<Json> ListKeys(const AdminCall& call) {
  ASSIGN_OR_RETURN(const std::string token_name, TextArgument(call.arguments, "token", ""));
  ASSIGN_OR_RETURN(const Filter filter, ReadFilter(call));
  ASSIGN_OR_RETURN(const std::string after_text, TextArgument(call.arguments, "after", ""));
  ASSIGN_OR_RETURN(const auto limit_given, NumberArgument(call.arguments, "limit"));
  const std::size_t limit = static_cast<std::size_t>(std::clamp<std::int64_t>(limit_given.value_or(200), 1, 1000));
  const auto parsed = cmk::CmkId::FromHex(after_text);
  if (!after_text.empty() && !parsed) return Fail(CKR_ARGUMENTS_BAD, "after is the id of a key");
  cmk::CmkId after = parsed.value_or(cmk::CmkId{});
  std::optional<cmk::TokenId> token;
  if (!token_name.empty()) {
    ASSIGN_OR_RETURN(const auto found, FindToken(call, token_name));
    token = found->id;
  }
  Json list = Json::array();
  std::string next;
  while (list.size() < limit) {
    ASSIGN_OR_RETURN(const std::vector<cmk::Cmk> page, ReadPage(call, token, after, limit));
    for (const cmk::Cmk& key : page) {
      after = key.id;
      if (!Fits(call.daemon(), key, filter)) continue;
      list.push_back(DescribeKey(call.invocation, key, false));
      if (list.size() == limit) break;
    }
    if (list.size() == limit) next = after.ToHex();
    if (page.size() < limit) break;
  }
  return Json{{"keys", std::move(list)}, {"next", next}};
}

constexpr Verb kVerbs[] = {{"key.list", &ListKeys}};

}  // namespace

std::span<const Verb> ListVerbs() { return kVerbs; }

}  // namespace cmkd::daemon
