// What the commands about keys share: lists of keys, page after page, and the verb of each change.
#pragma once

#include <string_view>
#include <vector>

#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"

namespace cmkd::tools {

struct KeyPages {
  std::vector<Value> keys;
  std::string next;  // where to go on; empty at the end
};
// Page after page until `wanted` keys are there; 0 stands for all.
Outcome<KeyPages> CollectKeys(Administrator& daemon, const KeyListOptions& options, std::uint32_t wanted);

// The daemon's word for it: "key.disable".
std::string_view VerbOf(KeyChange change);

}  // namespace cmkd::tools
