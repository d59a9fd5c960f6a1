// The application's own record of what it has at the daemon.
#include "pkcs11/remote/resumption.h"

#include <algorithm>

#include "pkcs11/wire/frame.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::remote {

using spec::OperationKind;
using spec::Phase;

void Resumption::Opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot, CK_FLAGS flags) {
  const std::lock_guard lock(mutex_);
  Session& entry = sessions_[session];
  entry.slot = slot;
  entry.flags = flags;
}

void Resumption::Closed(CK_SESSION_HANDLE session) {
  const std::lock_guard lock(mutex_);
  sessions_.erase(session);
  DropObjectsOf(session);
}

void Resumption::ClosedAll(CK_SLOT_ID slot) {
  const std::lock_guard lock(mutex_);
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    if (it->second.slot != slot) {
      ++it;
      continue;
    }
    DropObjectsOf(it->first);
    it = sessions_.erase(it);
  }
}

void Resumption::Cancelled(CK_SESSION_HANDLE session, CK_FLAGS flags) {
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  std::erase_if(it->second.operations,
                [&](const auto& operation) { return (spec::CancelFlag(operation.first) & flags) != 0; });
}

void Resumption::KeepObject(CK_OBJECT_HANDLE handle, CK_SESSION_HANDLE session, ByteView sealed) {
  DropObject(handle);
  by_session_.emplace(session, handle);
  objects_[handle] = {session, ToBytes(sealed)};
}

void Resumption::DropObject(CK_OBJECT_HANDLE handle) {
  const auto it = objects_.find(handle);
  if (it == objects_.end()) return;
  by_session_.erase({it->second.session, handle});
  objects_.erase(it);
}

void Resumption::DropObjectsOf(CK_SESSION_HANDLE session) {
  auto it = by_session_.lower_bound({session, 0});
  while (it != by_session_.end() && it->first == session) {
    objects_.erase(it->second);
    it = by_session_.erase(it);
  }
}

void Resumption::Operation::Begin(const spec::CallRow& row, ByteView payload) {
  End();
  active = true;
  frames.emplace_back(row.id, payload);
  bytes = payload.size();
}

void Resumption::Operation::Feed(const spec::CallRow& row, ByteView payload) {
  if (frames.empty()) return;
  bytes += payload.size();
  if (!spec::HasOutputOnlyAtItsEnd(row.operation) || bytes > kRepeatedBytesMax) {
    MayNotBeRepeated();
  } else {
    frames.emplace_back(row.id, payload);
  }
}

void Resumption::Operation::End() {
  active = in_message = false;
  frames.clear();
  fetched = 0;
}

void Resumption::Followed(const spec::CallRow& row, CK_SESSION_HANDLE session, const Deed& deed) {
  if (row.operation == OperationKind::kNoOperation) return;
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  if (deed.rv == CKR_BUFFER_TOO_SMALL || (deed.rv == CKR_OK && deed.asked)) return;
  Operation& operation = it->second.operations[row.operation];
  switch (row.phase) {
    case Phase::kBegin:
      if (deed.rv != CKR_OK) return;
      deed.cancel ? operation.End() : operation.Begin(row, deed.payload);
      return;
    case Phase::kPart:
      // The dual functions feed a second operation, whose own frames then do not tell all of it.
      if (const OperationKind other = spec::SecondOperation(row.id); other != OperationKind::kNoOperation) {
        Operation& second = it->second.operations[other];
        deed.rv == CKR_OK ? second.MayNotBeRepeated() : second.End();
      }
      if (row.operation == OperationKind::kFind) {
        // A search can be begun again at any point: handles come in ascending order.
        if (deed.rv == CKR_OK) operation.fetched += deed.fetched;
      } else if (deed.rv == CKR_OK) {
        operation.Feed(row, deed.payload);
      } else {
        operation.End();
      }
      return;
    case Phase::kSingle:
    case Phase::kFinal: operation.End(); return;
    case Phase::kMessageBegin: operation.in_message = operation.in_message || deed.rv == CKR_OK; return;
    case Phase::kMessageNext: operation.in_message = deed.rv == CKR_OK && !deed.last; return;
    case Phase::kMessage:
    case Phase::kNoPhase: return;
  }
}

void Resumption::StateSet(CK_SESSION_HANDLE session, OperationKind kind, ByteView payload) {
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  it->second.operations.clear();
  it->second.operations[kind].Begin(spec::Row(spec::CallId::C_SetOperationState), payload);
}

bool Resumption::TakeLost(Session& session, OperationKind kind) {
  const auto it = session.operations.find(kind);
  if (it == session.operations.end() || !it->second.lost) return false;
  it->second.lost = false;
  --lost_;
  return true;
}

bool Resumption::TakeLost(const spec::CallRow& row, CK_SESSION_HANDLE session) {
  if (lost_.load(std::memory_order_relaxed) == 0 || row.operation == OperationKind::kNoOperation) return false;
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return false;
  const bool first = TakeLost(it->second, row.operation);
  const bool second = TakeLost(it->second, spec::SecondOperation(row.id));
  return (first || second) && row.phase != Phase::kBegin;
}

std::optional<wire::TrailerKinds> Resumption::ReadTrailers(wire::Reader& r) {
  wire::TrailerKinds kinds;
  while (r.ok() && !r.AtEnd()) {
    const auto trailer = wire::ReadTrailer(r);
    if (!trailer) return std::nullopt;
    kinds.Add(*trailer);
    if (trailer->kind == wire::TrailerKind::kEnd) break;
    Keep(*trailer);
  }
  if (!r.AtEnd()) return std::nullopt;
  return kinds;
}

void Resumption::Keep(const wire::TrailerView& trailer) {
  const std::lock_guard lock(mutex_);
  switch (trailer.kind) {
    case wire::TrailerKind::kTicket: ticket_ = ToBytes(trailer.blob); return;
    case wire::TrailerKind::kSessionObject: KeepObject(trailer.object, trailer.session, trailer.blob); return;
    case wire::TrailerKind::kForgetObject: DropObject(trailer.object); return;
    case wire::TrailerKind::kEnd:
    case wire::TrailerKind::kOtpSignature:
    case wire::TrailerKind::kRefusedKey: return;
  }
}

void Resumption::SetTicket(ByteView ticket) {
  const std::lock_guard lock(mutex_);
  ticket_ = ToBytes(ticket);
}

Bytes Resumption::Encode(std::size_t bytes_max) const {
  const std::lock_guard lock(mutex_);
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.Blob(ticket_);
  w.U32(static_cast<std::uint32_t>(sessions_.size()));
  for (const auto& [handle, session] : sessions_) {
    w.U64(handle);
    w.U64(session.slot);
    w.U64(session.flags);
  }
  // How many find room is known before the first of them is written. The oldest have it: keys, mostly, of what goes on.
  // Session and handle, and the length of the blob.
  constexpr std::size_t kBeside = 2 * sizeof(std::uint64_t) + sizeof(std::uint32_t);
  std::size_t room = bytes_max - std::min(bytes_max, buffer.size() + sizeof(std::uint32_t));
  std::uint32_t fit = 0;
  for (const auto& [handle, object] : objects_) {
    if (object.sealed.size() + kBeside > room) break;
    room -= object.sealed.size() + kBeside;
    ++fit;
  }
  w.U32(fit);
  for (auto it = objects_.begin(); fit != 0; ++it, --fit) {
    w.U64(it->second.session);
    w.U64(it->first);
    w.Blob(it->second.sealed);
  }
  return ToBytes(buffer.view());
}

std::vector<Resumption::Begun> Resumption::TakeBegun() {
  const std::lock_guard lock(mutex_);
  std::vector<Begun> begun;
  for (auto& [handle, session] : sessions_) {
    for (auto& [kind, operation] : session.operations) {
      if (!operation.active) continue;
      if (operation.frames.empty() || operation.in_message) {
        if (!operation.lost) ++lost_;
        operation.lost = true;
        // A message takes its operation not with it: that goes on with the next one.
        if (!operation.in_message) operation.End();
        operation.in_message = false;
      }
      if (operation.active) begun.push_back({handle, operation.frames, operation.fetched});
    }
  }
  // Setting a state cancels what is active in its session, so those go first.
  std::stable_partition(begun.begin(), begun.end(), [](const Begun& each) {
    return each.frames.front().call == spec::CallId::C_SetOperationState;
  });
  return begun;
}

void Resumption::Forget() {
  const std::lock_guard lock(mutex_);
  sessions_.clear();
  objects_.clear();
  by_session_.clear();
  ticket_.clear();
  lost_ = 0;
}

}  // namespace cmkd::remote
