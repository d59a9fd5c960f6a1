// Who is connected.
#include "daemon/client/registry.h"

namespace cmkd::daemon {

ApplicationPtr Registry::Join(const ApplicationId& id, const Peer& peer) {
  const std::lock_guard lock(mutex_);
  const auto it = applications_.find(id);
  // The id is no secret to the kernel's eyes: another user, or another process of the same user, does not join.
  if (it == applications_.end() || it->second->peer() != peer) return nullptr;
  ++it->second->connections;
  return it->second;
}

ApplicationPtr Registry::Begin(const ApplicationId& id, const Peer& peer) {
  const std::lock_guard lock(mutex_);
  const auto [it, fresh] = applications_.try_emplace(id, nullptr);
  if (!fresh) return nullptr;
  it->second = std::make_shared<Application>(id, peer);
  it->second->connections = 1;
  return it->second;
}

void Registry::Leave(const ApplicationPtr& application) {
  {
    const std::lock_guard lock(mutex_);
    if (--application->connections != 0) return;
    applications_.erase(application->id());
  }
  cleanup_(*application);
}

std::vector<ApplicationPtr> Registry::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<ApplicationPtr> all;
  for (const auto& [id, application] : applications_) all.push_back(application);
  return all;
}

Registry::Totals Registry::Count() const {
  Totals totals;
  const std::lock_guard lock(mutex_);
  totals.applications = applications_.size();
  for (const auto& [id, application] : applications_) {
    totals.connections += application->connections;
    totals.sessions += application->Sessions().size();
    totals.session_objects += application->AllObjects().size();
  }
  return totals;
}

}  // namespace cmkd::daemon
