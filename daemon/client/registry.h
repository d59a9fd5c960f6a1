// The registry of applications: who is connected. Applications live as long as one of their connections.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "daemon/client/application.h"

namespace cmkd::daemon {

class Registry {
 public:
  // `cleanup` takes what an application leaves behind when its last connection closes.
  explicit Registry(std::function<void(Application&)> cleanup) : cleanup_(std::move(cleanup)) {}

  // The living application of this id and user, with one connection more; nothing when there is none.
  ApplicationPtr Join(const ApplicationId& id, const Peer& peer);
  // A new application with its first connection. `id` must not be taken by a living one.
  ApplicationPtr Begin(const ApplicationId& id, const Peer& peer);
  void Leave(const ApplicationPtr& application);

  std::vector<ApplicationPtr> All() const;
  // What all applications have together.
  struct Totals {
    std::size_t applications = 0;
    std::size_t connections = 0;
    std::size_t sessions = 0;
    std::size_t session_objects = 0;
  };
  Totals Count() const;

 private:
  std::function<void(Application&)> cleanup_;
  mutable std::mutex mutex_;
  std::map<ApplicationId, ApplicationPtr> applications_;
};

}  // namespace cmkd::daemon
