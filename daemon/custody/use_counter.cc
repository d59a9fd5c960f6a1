// Blocks of uses.
#include "daemon/custody/use_counter.h"

#include <algorithm>

#include "daemon/service/translate.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kSavedAtOnce = 1024;

// The client's row, made if it is not there; beyond the number that is kept, the row of all others.
cmk::ClientUse& RowOf(std::vector<cmk::ClientUse>& rows, std::uint32_t uid, Timestamp now) {
  const auto place = [&](std::uint32_t wanted) {
    return std::lower_bound(rows.begin(), rows.end(), wanted,
                            [](const cmk::ClientUse& row, std::uint32_t other) { return row.uid < other; });
  };
  auto at = place(uid);
  if ((at == rows.end() || at->uid != uid) && rows.size() >= cmk::kClientsKept) at = place(uid = cmk::kOtherClients);
  if (at == rows.end() || at->uid != uid) at = rows.insert(at, {uid, 0, 0, 0, now, now});
  return *at;
}

void GiveBack(std::uint64_t& counted, std::uint64_t left) { counted -= std::min(counted, left); }

}  // namespace

UseCounter::Client& UseCounter::ClientOf(Entry& entry, std::uint32_t uid) {
  for (Client& client : entry.clients) {
    if (client.uid == uid) return client;
  }
  if (entry.clients.size() >= cmk::kClientsKept && uid != cmk::kOtherClients)
    return ClientOf(entry, cmk::kOtherClients);
  Client& made = entry.clients.emplace_back();
  made.uid = made.row_uid = uid;
  return made;
}

Status UseCounter::ReserveOfVersion(cmk::Cmk& key, cmk::KeyVersion& version, Entry& entry, const Use& use,
                                    cmk::UsageVerdict& verdict) {
  entry.limit = cmk::EffectiveLimit(key.usage_limit, use.random_iv);
  const std::uint64_t used = version.uses - std::min(version.uses, entry.uses_left);
  verdict = cmk::CheckUsage(used, entry.limit);
  if (entry.uses_left < use.uses) {
    std::uint64_t block = cmk::BlockFor(entry.limit, version.uses);
    if (entry.limit != 0) block = std::min(block, entry.limit - std::min(entry.limit, version.uses));
    if (block == 0) {
      verdict = cmk::UsageVerdict::kStop;
      return Fail(CKR_FUNCTION_FAILED, "the version has been used as often as it may be", spec::kVersionExhausted);
    }
    version.uses += block;
    entry.uses_left = block;
  }
  if (entry.bytes_left < use.bytes) {
    const std::uint64_t block = std::max(cmk::ByteBlockFor(version.bytes), use.bytes);
    version.bytes += block;
    entry.bytes_left += block;
  }
  return {};
}

Status UseCounter::ReserveOfClient(store::WriteTxn& txn, const Name& name, Client& client, const Use& use) {
  STORE_OR_RETURN(std::vector<cmk::ClientUse> rows, txn.FindClientUses(name.first, {name.second}));
  cmk::ClientUse& row = RowOf(rows, client.uid, clock_.Now());
  std::uint64_t& counted = use.protects ? row.protects : row.processes;
  std::uint64_t& left = use.protects ? client.protects_left : client.processes_left;
  if (left < use.uses) {
    left = cmk::BlockFor(0, counted);
    counted += left;
  }
  if (client.bytes_left < use.bytes) {
    const std::uint64_t block = std::max(cmk::ByteBlockFor(row.bytes), use.bytes);
    row.bytes += block;
    client.bytes_left += block;
  }
  row.last = clock_.Now();
  client.row_uid = row.uid;
  RETURN_IF_STORE_ERROR(txn.PutClientUses(name.first, {name.second}, rows));
  return {};
}

// Called with the shard locked: others who use keys of the shard wait for this one commit, as they would for their own.
// What was not committed is not set aside.
Status UseCounter::Reserve(const Name& name, Entry& entry, Client& client, const Use& use, cmk::UsageVerdict& verdict) {
  STORE_OR_RETURN(const auto txn, store_.BeginWrite("key.uses"));
  STORE_OR_RETURN(auto key, txn->FindCmk(name.first));
  cmk::KeyVersion* version = key ? key->FindVersion({name.second}) : nullptr;
  if (version == nullptr) return Fail(CKR_FUNCTION_FAILED, "the key is gone", spec::kNotFound);
  Entry after = entry;
  Client client_after = client;
  if (use.protects) {
    const Status of_version = ReserveOfVersion(*key, *version, after, use, verdict);
    entry.limit = after.limit;
    if (!of_version.ok()) return of_version;
    RETURN_IF_STORE_ERROR(txn->PutCmk(*key));
  }
  RETURN_IF_ERROR(ReserveOfClient(*txn, name, client_after, use));
  RETURN_IF_STORE_ERROR(txn->Commit());
  entry.uses_left = after.uses_left;
  entry.bytes_left = after.bytes_left;
  client = client_after;
  return {};
}

Status UseCounter::CountUse(const Name& name, Entry& entry, std::uint32_t uid, const Use& use,
                            cmk::UsageVerdict& verdict) {
  Client& client = ClientOf(entry, uid);
  // A limit that began to hold only now (another mechanism) is looked at once more.
  const bool tighter = use.random_iv && entry.limit == 0;
  const bool of_version = use.protects && (entry.uses_left < use.uses || entry.bytes_left < use.bytes || tighter);
  std::uint64_t& left = use.protects ? client.protects_left : client.processes_left;
  if (of_version || left < use.uses || client.bytes_left < use.bytes)
    RETURN_IF_ERROR(Reserve(name, entry, client, use, verdict));
  if (use.protects) {
    entry.uses_left -= use.uses;
    entry.bytes_left -= use.bytes;
  }
  left -= use.uses;
  client.bytes_left -= use.bytes;
  entry.last_used = client.last = clock_.Now();
  entry.dirty = true;
  return {};
}

Status UseCounter::CountProtect(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint32_t uid,
                                std::uint64_t bytes, bool random_iv) {
  cmk::UsageVerdict verdict = cmk::UsageVerdict::kFine;
  bool news = false;
  Status status;
  {
    Shard& shard = ShardOf(id);
    const std::lock_guard lock(shard.mutex);
    const Name name{id, version.value};
    Entry& entry = shard.entries[name];
    status = CountUse(name, entry, uid, {true, bytes, random_iv}, verdict);
    news = verdict > entry.told;
    if (news) entry.told = verdict;
  }
  if (news && notice_) notice_(id, version, verdict);
  return status;
}

Status UseCounter::CountProcess(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint32_t uid,
                                std::uint64_t bytes) {
  cmk::UsageVerdict no_limit = cmk::UsageVerdict::kFine;
  Shard& shard = ShardOf(id);
  const std::lock_guard lock(shard.mutex);
  const Name name{id, version.value};
  return CountUse(name, shard.entries[name], uid, {false, bytes, false}, no_limit);
}

Status UseCounter::CountMore(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint32_t uid,
                             std::uint64_t bytes, bool protects) {
  cmk::UsageVerdict no_use = cmk::UsageVerdict::kFine;
  Shard& shard = ShardOf(id);
  const std::lock_guard lock(shard.mutex);
  const Name name{id, version.value};
  return CountUse(name, shard.entries[name], uid, {protects, bytes, false, 0}, no_use);
}

UseCounter::Exact UseCounter::Count(const cmk::CmkId& id, const cmk::KeyVersion& version) const {
  Exact exact{version.uses, version.bytes, version.last_used};
  const Shard& shard = ShardOf(id);
  const std::lock_guard lock(shard.mutex);
  const auto it = shard.entries.find({id, version.number.value});
  if (it == shard.entries.end()) return exact;
  GiveBack(exact.uses, it->second.uses_left);
  GiveBack(exact.bytes, it->second.bytes_left);
  if (it->second.last_used) exact.last_used = it->second.last_used;
  return exact;
}

Fallible<std::vector<cmk::ClientUse>> UseCounter::Clients(const cmk::CmkId& id, cmk::KeyVersionNumber version) const {
  const Shard& shard = ShardOf(id);
  // No block is set aside between the look at the record and the look at what is left of it.
  const std::lock_guard lock(shard.mutex);
  STORE_OR_RETURN(const auto read, store_.BeginRead());
  STORE_OR_RETURN(std::vector<cmk::ClientUse> rows, read->FindClientUses(id, version));
  const auto it = shard.entries.find({id, version.value});
  if (it == shard.entries.end()) return rows;
  for (const Client& client : it->second.clients) {
    for (cmk::ClientUse& row : rows) {
      if (row.uid != client.row_uid) continue;
      GiveBack(row.protects, client.protects_left);
      GiveBack(row.processes, client.processes_left);
      GiveBack(row.bytes, client.bytes_left);
      row.last = std::max(row.last, client.last);
    }
  }
  return rows;
}

Status UseCounter::SaveEntry(store::WriteTxn& txn, cmk::Cmk& key, cmk::KeyVersion& version, Entry& entry, bool final) {
  entry.dirty = false;
  if (entry.last_used) version.last_used = entry.last_used;
  STORE_OR_RETURN(std::vector<cmk::ClientUse> rows, txn.FindClientUses(key.id, version.number));
  for (Client& client : entry.clients) {
    for (cmk::ClientUse& row : rows) {
      if (row.uid != client.row_uid) continue;
      row.last = std::max(row.last, client.last);
      if (!final) continue;
      GiveBack(row.protects, client.protects_left);
      GiveBack(row.processes, client.processes_left);
      GiveBack(row.bytes, client.bytes_left);
    }
  }
  if (final) {
    GiveBack(version.uses, entry.uses_left);
    GiveBack(version.bytes, entry.bytes_left);
    entry.uses_left = entry.bytes_left = 0;
    entry.clients.clear();
  }
  RETURN_IF_STORE_ERROR(txn.PutCmk(key));
  if (!rows.empty()) RETURN_IF_STORE_ERROR(txn.PutClientUses(key.id, version.number, rows));
  return {};
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
      const bool gives_back = final && (entry.uses_left != 0 || entry.bytes_left != 0 || !entry.clients.empty());
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
      RETURN_IF_ERROR(SaveEntry(*txn, *key, *version, entry, final));
      ++written;
      ++it;
    }
    RETURN_IF_STORE_ERROR(txn->Commit());
  }
  return {};
}

}  // namespace cmkd::daemon
