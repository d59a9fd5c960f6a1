// Blocks of uses.
#include "daemon/custody/use_counter.h"

#include <algorithm>

#include "daemon/service/translate.h"

namespace cmkd::daemon {

namespace {

constexpr std::uint64_t kBytesBlock = std::uint64_t{256} << 20;
constexpr std::size_t kSavedAtOnce = 1024;

}  // namespace

// Called with the shard locked: others who use keys of the shard wait for this one commit, as they would for their own.
Status UseCounter::Reserve(const Name& name, Entry& entry, std::uint64_t bytes, bool random_iv,
                           cmk::UsageVerdict& verdict) {
  STORE_OR_RETURN(const auto txn, store_.BeginWrite("key.uses"));
  STORE_OR_RETURN(auto key, txn->FindCmk(name.first));
  cmk::KeyVersion* version = key ? key->FindVersion({name.second}) : nullptr;
  if (version == nullptr) return Fail(CKR_FUNCTION_FAILED, "the key is gone", spec::kNotFound);
  entry.limit = cmk::EffectiveLimit(key->usage_limit, random_iv);
  const std::uint64_t used = version->uses - std::min(version->uses, entry.uses_left);
  verdict = cmk::CheckUsage(used, entry.limit);
  if (entry.uses_left == 0) {
    std::uint64_t block = cmk::BlockFor(entry.limit);
    if (entry.limit != 0) block = std::min(block, entry.limit - std::min(entry.limit, version->uses));
    if (block == 0) {
      verdict = cmk::UsageVerdict::kStop;
      return Fail(CKR_FUNCTION_FAILED, "the version has been used as often as it may be", spec::kVersionExhausted);
    }
    version->uses += block;
    entry.uses_left = block;
  }
  if (entry.bytes_left < bytes) {
    const std::uint64_t block = std::max(kBytesBlock, bytes);
    version->bytes += block;
    entry.bytes_left += block;
  }
  RETURN_IF_STORE_ERROR(txn->PutCmk(*key));
  RETURN_IF_STORE_ERROR(txn->Commit());
  return {};
}

Status UseCounter::CountProtect(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint64_t bytes,
                                bool random_iv) {
  cmk::UsageVerdict verdict = cmk::UsageVerdict::kFine;
  bool news = false;
  Status status;
  {
    Shard& shard = ShardOf(id);
    const std::lock_guard lock(shard.mutex);
    Entry& entry = shard.entries[{id, version.value}];
    // A limit that began to hold only now (another mechanism) is looked at once more.
    const bool tighter = random_iv && entry.limit == 0;
    if (entry.uses_left == 0 || entry.bytes_left < bytes || tighter) {
      status = Reserve({id, version.value}, entry, bytes, random_iv, verdict);
      news = verdict > entry.told;
      if (news) entry.told = verdict;
    }
    if (status.ok()) {
      --entry.uses_left;
      entry.bytes_left -= bytes;
      entry.last_used = clock_.Now();
      entry.dirty = true;
    }
  }
  if (news && notice_) notice_(id, version, verdict);
  return status;
}

void UseCounter::NoteProcess(const cmk::CmkId& id, cmk::KeyVersionNumber version) {
  Shard& shard = ShardOf(id);
  const std::lock_guard lock(shard.mutex);
  Entry& entry = shard.entries[{id, version.value}];
  entry.last_used = clock_.Now();
  entry.dirty = true;
}

UseCounter::Exact UseCounter::Count(const cmk::CmkId& id, const cmk::KeyVersion& version) const {
  Exact exact{version.uses, version.bytes, version.last_used};
  const Shard& shard = ShardOf(id);
  const std::lock_guard lock(shard.mutex);
  const auto it = shard.entries.find({id, version.number.value});
  if (it == shard.entries.end()) return exact;
  exact.uses -= std::min(exact.uses, it->second.uses_left);
  exact.bytes -= std::min(exact.bytes, it->second.bytes_left);
  if (it->second.last_used) exact.last_used = it->second.last_used;
  return exact;
}

Status UseCounter::Save(bool final) {
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    if (shard.entries.empty()) continue;
    STORE_OR_RETURN(const auto txn, store_.BeginWrite("key.last-used"));
    std::size_t written = 0;
    for (auto it = shard.entries.begin(); it != shard.entries.end();) {
      const auto& [id, number] = it->first;
      Entry& entry = it->second;
      const bool gives_back = final && (entry.uses_left != 0 || entry.bytes_left != 0);
      if ((!entry.dirty && !gives_back) || (!final && written == kSavedAtOnce)) {
        ++it;
        continue;
      }
      STORE_OR_RETURN(auto key, txn->FindCmk(id));
      cmk::KeyVersion* version = key ? key->FindVersion({number}) : nullptr;
      if (version == nullptr) {
        it = shard.entries.erase(it);
        continue;
      }
      entry.dirty = false;
      version->last_used = entry.last_used;
      if (final) {
        version->uses -= std::min(version->uses, entry.uses_left);
        version->bytes -= std::min(version->bytes, entry.bytes_left);
        entry.uses_left = entry.bytes_left = 0;
      }
      RETURN_IF_STORE_ERROR(txn->PutCmk(*key));
      ++written;
      ++it;
    }
    RETURN_IF_STORE_ERROR(txn->Commit());
  }
  return {};
}

}  // namespace cmkd::daemon
