// cmkctl key bulk: one change of many keys, found by a filter.
#include "tools/cmkctl/key_listing.h"

namespace cmkd::tools {

namespace {

struct Word {
  std::string_view name;
  KeyChange change;
};
constexpr Word kWords[] = {
    {"disable", KeyChange::kDisable},
    {"enable", KeyChange::kEnable},
    {"archive", KeyChange::kArchive},
    {"unarchive", KeyChange::kUnarchive},
    {"rotate", KeyChange::kRotate},
    {"schedule-deletion", KeyChange::kScheduleDeletion},
    {"cancel-deletion", KeyChange::kCancelDeletion},
};

bool Asks(const KeyListOptions& filter) {
  return !(filter.token + filter.state + filter.tag + filter.name + filter.spec + filter.key_class + filter.origin)
              .empty();
}

}  // namespace

int KeyBulk(const Context& context, const KeyBulkOptions& options) {
  const Word* word = nullptr;
  for (const Word& row : kWords) {
    if (row.name == options.change) word = &row;
  }
  if (word == nullptr) return Report(context.screen, UsageProblem("There is no such change for many keys.").error);
  if (Asks(options.filter) == options.every)
    return Report(context.screen, UsageProblem("Say which keys: with a filter, or with --every.").error);
  // Each change has a name of its own: one for all of them would let only the first happen.
  Context each = context;
  each.request_id.clear();
  Administrator daemon(each);
  const Outcome<KeyPages> pages = CollectKeys(daemon, options.filter, 0);
  if (!pages) return Report(context.screen, pages.error());
  Table table({{"NAME"}, {"TOKEN"}, {"ID"}, {"RESULT"}});
  std::vector<Object> results;
  bool all_done = true;
  for (const Value& key : pages->keys) {
    Object arguments;
    arguments.Set("key", key.Text("id"));
    if (options.days) arguments.Set("days", std::uint64_t{*options.days});
    if (options.brown_out_days) arguments.Set("brown_out_days", std::uint64_t{*options.brown_out_days});
    const Outcome<Value> done = daemon.Ask(VerbOf(word->change), arguments);
    all_done = all_done && done;
    const std::string result = !done ? done.error().code : context.dry_run ? "would be done" : "done";
    table.Add({{key.Text("name"), Tone::kStrong},
               key.Text("token"),
               {key.Text("id"), Tone::kFaint},
               {result, done ? Tone::kGood : Tone::kBad}});
    Object row;
    row.Set("id", key.Text("id")).Set("name", key.Text("name")).Set("done", bool{done} && !context.dry_run);
    row.Set("result", done ? "" : done.error().code);
    results.push_back(std::move(row));
  }
  Object whole;
  whole.Set("keys", results).Set("dry_run", context.dry_run);
  context.screen.Show(whole.ToValue(),
                      table.empty() ? "There are no such keys.\n" : table.Print(context.screen.colour));
  return static_cast<int>(all_done ? ExitStatus::kDone : ExitStatus::kRefused);
}

}  // namespace cmkd::tools
