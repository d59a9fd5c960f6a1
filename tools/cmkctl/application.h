// A session on a token with its user logged in: what cmkctl does with keys it does like any application, under the same
// rules and in the same audit log.
#pragma once

#include <string>

#include "common/secret.h"
#include "tools/cmkctl/administrator.h"

namespace cmkd::tools {

class Application {
 public:
  explicit Application(std::string socket) : daemon_(std::move(socket)) {}

  // Finds the token and begins. `token`: its label; empty: the only one there is.
  Outcome<void> Open(const std::string& token);
  Outcome<void> Login(SecretBytes& pin);

  // A secret key by TOKEN/NAME, by its name or by its id, the first also says the token. Before Open only the name of
  // the token may be asked for.
  Outcome<CK_OBJECT_HANDLE> FindKey(const std::string& name);

  // A call in the session; a refusal is put in the words of its detail code.
  template <class Call>
  Outcome<void> Do(Call& call) {
    call.session.value = session_;
    const Outcome<void> done = daemon_.Do(call);
    return done ? done : Explained(done.error());
  }

 private:
  Outcome<void> Explained(const Problem& problem);
  Outcome<std::vector<CK_OBJECT_HANDLE>> Find(CK_ATTRIBUTE_TYPE type, const std::string& text);

  Administrator daemon_;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
};

// "orders/payments" in its parts; without a slash the first is empty.
struct KeyPath {
  std::string token;
  std::string name;
};
KeyPath SplitKey(const std::string& key);

}  // namespace cmkd::tools
