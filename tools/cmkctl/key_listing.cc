// Lists of keys, and the verbs.
#include "tools/cmkctl/key_listing.h"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "keystore/cmk/state.h"

namespace cmkd::tools {

namespace {

// Keys that one request asks for; an answer has its bound (limits::kAdminBytesMax).
constexpr std::uint32_t kPageKeys = 1000;

char Lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

bool SameWord(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

// What the daemon says instead of Enabled or Archived while the HSM is away.
constexpr std::string_view kUnavailable = "Unavailable";

// The state as the daemon writes it, whatever case it was typed in.
Outcome<std::string> StateNamed(const std::string& typed) {
  std::string all;
  for (const cmk::CmkStateRow& row : cmk::CmkStates()) {
    if (SameWord(row.name, typed)) return std::string(row.name);
    all.append(all.empty() ? "" : ", ").append(row.name);
  }
  if (SameWord(kUnavailable, typed)) return std::string(kUnavailable);
  return UsageProblem("There is no key state \"" + typed + "\".",
                      "The states are " + all + ", " + std::string(kUnavailable) + ".");
}

Outcome<Value> AskForKeys(Administrator& daemon, const KeyListOptions& options, const std::string& after,
                          std::uint32_t limit) {
  Object arguments;
  arguments.SetIfAny("token", options.token).SetIfAny("after", after).Set("limit", std::uint64_t{limit});
  if (!options.state.empty()) {
    ASSIGN_OR_RETURN(const std::string state, StateNamed(options.state));
    arguments.Set("state", state);
  }
  arguments.SetIfAny("tag", options.tag).SetIfAny("name", options.name).SetIfAny("spec", options.spec);
  arguments.SetIfAny("class", options.key_class).SetIfAny("origin", options.origin);
  return daemon.Ask("key.list", arguments);
}

}  // namespace

Outcome<KeyPages> CollectKeys(Administrator& daemon, const KeyListOptions& options, std::uint32_t wanted) {
  KeyPages pages;
  pages.next = options.after;
  do {
    const auto missing = wanted == 0 ? kPageKeys : static_cast<std::uint32_t>(wanted - pages.keys.size());
    ASSIGN_OR_RETURN(const Value page, AskForKeys(daemon, options, pages.next, std::min(missing, kPageKeys)));
    std::vector<Value> keys = page.Items("keys");
    pages.next = page.Text("next");
    if (keys.empty()) break;
    std::move(keys.begin(), keys.end(), std::back_inserter(pages.keys));
  } while (!pages.next.empty() && (wanted == 0 || pages.keys.size() < wanted));
  return pages;
}

std::string_view VerbOf(KeyChange change) {
  switch (change) {
    case KeyChange::kDisable: return "key.disable";
    case KeyChange::kEnable: return "key.enable";
    case KeyChange::kArchive: return "key.archive";
    case KeyChange::kUnarchive: return "key.unarchive";
    case KeyChange::kActivate: return "key.activate";
    case KeyChange::kDeleteMaterial: return "key.delete-material";
    case KeyChange::kAlias: return "key.alias-set";
    case KeyChange::kUnalias: return "key.alias-remove";
    case KeyChange::kRegister: return "key.register";
    case KeyChange::kRelease: return "key.release";
    case KeyChange::kRotate: return "key.rotate";
    case KeyChange::kScheduleDeletion: return "key.schedule-deletion";
    case KeyChange::kCancelDeletion: return "key.cancel-deletion";
  }
  return {};
}

}  // namespace cmkd::tools
