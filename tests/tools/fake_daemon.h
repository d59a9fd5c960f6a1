// A daemon's outside for tests of cmkctl: a real server that answers the operator's verbs as a test says, and takes the
// standard's calls that make a token ready. Nothing is behind it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/server/server.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::tests {

class FakeDaemon final : public daemon::Service {
 public:
  // Request to answer, both as JSON text. Called on connection threads, one at a time.
  using Respond = std::function<std::string(const std::string& request)>;

  // Listens on `socket` at once.
  FakeDaemon(std::string socket, Respond respond);
  ~FakeDaemon() override;

  // Requests so far, in order.
  std::vector<std::string> requests() const;
  // The standard's calls so far: "C_InitToken slot 3 label 'orders' pin 12345678".
  std::vector<std::string> calls() const;
  // What the call of this name answers from now on, instead of CKR_OK.
  void Fail(const std::string& call, CK_RV rv);
  // Ends each conversation at the next operator's request, without an answer.
  void HangUp() { hang_up_ = true; }

  std::unique_ptr<daemon::Conversation> Begin(const daemon::Peer& peer) override;

 private:
  class Talk;
  std::string Answer(const std::string& request);
  CK_RV Take(const std::string& name, const std::string& line);

  Respond respond_;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<std::string> calls_;
  std::string failing_;
  CK_RV failure_ = CKR_OK;
  std::atomic<bool> hang_up_{false};
  daemon::Server server_;
  std::thread thread_;
};

}  // namespace cmkd::tests
