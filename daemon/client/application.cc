// The tables of one application.
#include "daemon/client/application.h"

namespace cmkd::daemon {

SessionPtr Application::OpenSession(CK_SLOT_ID slot, const cmk::TokenId& token, CK_FLAGS flags,
                                    std::size_t sessions_max, CK_SESSION_HANDLE handle) {
  auto session = std::make_shared<Session>();
  session->slot = slot;
  session->token = token;
  session->flags = flags;
  const std::lock_guard lock(mutex_);
  if (sessions_.size() >= sessions_max) return nullptr;
  if (handle != CK_INVALID_HANDLE && sessions_.contains(handle)) return nullptr;
  session->handle = handle != CK_INVALID_HANDLE ? handle : next_session_;
  next_session_ = std::max(next_session_, session->handle + 1);
  sessions_.emplace(session->handle, session);
  Count& count = counts_[token];
  ++count.all;
  if (session->read_write()) ++count.read_write;
  return session;
}

SessionPtr Application::FindSession(CK_SESSION_HANDLE handle) const {
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(handle);
  return it == sessions_.end() ? nullptr : it->second;
}

std::vector<ObjectPtr> Application::TakeObjects(CK_SESSION_HANDLE session) {
  std::vector<ObjectPtr> taken;
  const auto it = objects_of_session_.find(session);
  if (it == objects_of_session_.end()) return taken;
  for (const CK_OBJECT_HANDLE handle : it->second) {
    const auto object = objects_.find(handle);
    if (object == objects_.end()) continue;
    taken.push_back(std::move(object->second));
    objects_.erase(object);
  }
  objects_of_session_.erase(it);
  return taken;
}

std::vector<ObjectPtr> Application::CloseSession(CK_SESSION_HANDLE handle) {
  SessionPtr closed;
  const std::lock_guard lock(mutex_);
  const auto it = sessions_.find(handle);
  if (it == sessions_.end()) return {};
  closed = std::move(it->second);
  sessions_.erase(it);
  Count& count = counts_[closed->token];
  if (closed->read_write()) --count.read_write;
  if (--count.all == 0) {
    counts_.erase(closed->token);
    logins_.erase(closed->token);
  }
  return TakeObjects(handle);
}

std::vector<ObjectPtr> Application::CloseSessions(const cmk::TokenId& token) {
  std::vector<CK_SESSION_HANDLE> handles;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [handle, session] : sessions_) {
      if (session->token == token) handles.push_back(handle);
    }
  }
  std::vector<ObjectPtr> left;
  for (const CK_SESSION_HANDLE handle : handles) {
    for (ObjectPtr& object : CloseSession(handle)) left.push_back(std::move(object));
  }
  return left;
}

Application::Count Application::CountSessions(const cmk::TokenId& token) const {
  const std::lock_guard lock(mutex_);
  const auto it = counts_.find(token);
  return it == counts_.end() ? Count{} : it->second;
}

std::vector<SessionPtr> Application::Sessions() const {
  const std::lock_guard lock(mutex_);
  std::vector<SessionPtr> all;
  for (const auto& [handle, session] : sessions_) all.push_back(session);
  return all;
}

std::optional<Login> Application::FindLogin(const cmk::TokenId& token) const {
  const std::lock_guard lock(mutex_);
  const auto it = logins_.find(token);
  if (it == logins_.end()) return std::nullopt;
  return it->second;
}

std::map<cmk::TokenId, Login> Application::Logins() const {
  const std::lock_guard lock(mutex_);
  return logins_;
}

void Application::SetLogin(const cmk::TokenId& token, const Login& login) {
  const std::lock_guard lock(mutex_);
  logins_[token] = login;
}

std::vector<ObjectPtr> Application::Logout(const cmk::TokenId& token) {
  std::vector<ObjectPtr> gone;
  const std::lock_guard lock(mutex_);
  logins_.erase(token);
  for (auto it = objects_.begin(); it != objects_.end();) {
    if (it->second->token == token && it->second->is_private()) {
      gone.push_back(std::move(it->second));
      it = objects_.erase(it);
    } else {
      ++it;
    }
  }
  return gone;
}

bool Application::AddObject(ObjectPtr object, std::size_t objects_max) {
  const std::lock_guard lock(mutex_);
  if (objects_.size() >= objects_max || objects_.contains(object->handle)) return false;
  objects_of_session_[object->session].push_back(object->handle);
  if (object->handle >= next_object_.load()) next_object_.store(object->handle + 1);
  objects_.emplace(object->handle, std::move(object));
  return true;
}

ObjectPtr Application::FindObject(CK_OBJECT_HANDLE handle) const {
  const std::lock_guard lock(mutex_);
  const auto it = objects_.find(handle);
  return it == objects_.end() ? nullptr : it->second;
}

void Application::ReplaceObject(std::shared_ptr<Object> object) {
  const std::lock_guard lock(mutex_);
  const auto it = objects_.find(object->handle);
  if (it == objects_.end()) return;
  if (object->is_key()) spec::SetRole(spec::RoleOf(it->second->attributes), object->attributes);
  spec::KeepOtpCounter(it->second->attributes, object->attributes);
  it->second = std::move(object);
}

Fallible<std::uint64_t> Application::TakeOtpCounter(CK_OBJECT_HANDLE handle, const spec::OtpRequest& request) {
  const std::lock_guard lock(mutex_);
  const auto it = objects_.find(handle);
  if (it == objects_.end()) return Fail(CKR_KEY_HANDLE_INVALID, "the key is gone");
  auto changed = std::make_shared<Object>(*it->second);
  ASSIGN_OR_RETURN(const std::uint64_t counter, spec::TakeOtpCounter(request, changed->attributes));
  it->second = std::move(changed);
  return counter;
}

std::vector<ObjectPtr> Application::DecideRole(const Object& key, spec::KeyRole& role) {
  const ByteView modulus = key.attributes.View(CKA_MODULUS);
  const auto belongs = [&](const Object& other) {
    if (other.handle == key.handle) return true;
    return !modulus.empty() && other.token == key.token && Equal(other.attributes.View(CKA_MODULUS), modulus);
  };
  const std::lock_guard lock(mutex_);
  std::vector<ObjectPtr*> undecided;
  for (auto& [handle, object] : objects_) {
    if (!object->is_key() || !belongs(*object)) continue;
    const spec::KeyRole now = spec::RoleOf(object->attributes);
    if (now == spec::KeyRole::kUndecided) {
      undecided.push_back(&object);
    } else if (object->handle == key.handle || now == spec::KeyRole::kWrapping) {
      role = now;
    }
  }
  std::vector<ObjectPtr> changed;
  for (ObjectPtr* object : undecided) {
    auto decided = std::make_shared<Object>(**object);
    spec::SetRole(role, decided->attributes);
    *object = decided;
    changed.push_back(std::move(decided));
  }
  return changed;
}

ObjectPtr Application::RemoveObject(CK_OBJECT_HANDLE handle) {
  const std::lock_guard lock(mutex_);
  const auto it = objects_.find(handle);
  if (it == objects_.end()) return nullptr;
  ObjectPtr object = std::move(it->second);
  objects_.erase(it);
  const auto of_session = objects_of_session_.find(object->session);
  if (of_session != objects_of_session_.end()) std::erase(of_session->second, handle);
  return object;
}

std::vector<ObjectPtr> Application::Objects(const cmk::TokenId& token) const {
  const std::lock_guard lock(mutex_);
  std::vector<ObjectPtr> all;
  for (const auto& [handle, object] : objects_) {
    if (object->token == token) all.push_back(object);
  }
  return all;
}

std::vector<ObjectPtr> Application::AllObjects() const {
  const std::lock_guard lock(mutex_);
  std::vector<ObjectPtr> all;
  for (const auto& [handle, object] : objects_) all.push_back(object);
  return all;
}

void Application::RememberVersion(const cmk::CmkId& key, cmk::KeyVersionNumber version) {
  constexpr std::size_t kRemembered = 256;
  const std::lock_guard lock(mutex_);
  if (versions_.size() >= kRemembered && !versions_.contains(key)) versions_.clear();
  versions_[key] = version;
}

cmk::KeyVersionNumber Application::RememberedVersion(const cmk::CmkId& key) const {
  const std::lock_guard lock(mutex_);
  const auto at = versions_.find(key);
  return at == versions_.end() ? cmk::KeyVersionNumber{} : at->second;
}

}  // namespace cmkd::daemon
