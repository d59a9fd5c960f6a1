// The daemon's operator's door from outside: one verb with its arguments in, its result or the reason for its refusal
// out.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "pkcs11/remote/client.h"
#include "tools/cmkctl/document.h"
#include "tools/cmkctl/problem.h"

namespace cmkd::tools {

class Administrator {
 public:
  // A host of an HSM takes the standard's calls like a daemon, but has no verbs and keeps nothing over a restart.
  enum class Peer { kDaemon, kHsmHost };

  // Connects when something is first asked.
  explicit Administrator(std::string socket, std::chrono::milliseconds deadline = std::chrono::minutes(5),
                         Peer peer = Peer::kDaemon);

  // As a command was called: with its socket and request id.
  explicit Administrator(const struct Context& context);

  // Asks a verb (PROTOCOL.md, "Administration"). A change carries an id of its own, by which the audit log can name it.
  Outcome<Value> Ask(std::string_view verb, const Object& arguments = {});

  // One PKCS#11 call by the same connection: for what carries a PIN, which is never put into JSON.
  template <class Call>
  Outcome<void> Do(Call& call) {
    return Judge(spec::Row(Call::kId).name, client_.Answer(call));
  }

  const std::string& socket() const { return socket_; }

 private:
  Outcome<void> Judge(std::string_view call, CK_RV rv) const;

  std::string socket_;
  std::string request_id_;
  bool dry_run_ = false;
  remote::Client client_;
};

// Nobody answers on `socket`: what that is, as far as it can be found out.
Problem NobodyAnswers(const std::string& socket);

}  // namespace cmkd::tools
