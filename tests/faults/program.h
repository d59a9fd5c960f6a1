// The program of the fault tests as a whole: the module, the token and the threads, from what the environment says
// (cmkctl sandbox, or a script with a daemon of its own).
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/faults/load.h"

namespace cmkd::tests {

// The number that the variable has, or `otherwise`.
inline int NumberFrom(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::atoi(text);
}

class FaultProgram : public ::testing::Test {
 protected:
  static constexpr int kClients = 3;

  void SetUp() override {
    for (const char* name : {"P11_MODULE", "P11_TOKEN", "P11_PIN", "CMKD_DAEMON_PID"}) {
      ASSERT_NE(std::getenv(name), nullptr) << name << ": run it in cmkctl sandbox";
    }
    daemon_ = std::atoi(std::getenv("CMKD_DAEMON_PID"));
    ASSERT_TRUE(p11_.loaded());
    CK_C_INITIALIZE_ARGS threads{};
    threads.flags = CKF_OS_LOCKING_OK;
    ASSERT_EQ(p11_->C_Initialize(&threads), CKR_OK);
    const std::string token = std::getenv("P11_TOKEN");
    const auto slot = p11_.FindToken(token);
    ASSERT_TRUE(slot.has_value());
    CK_SESSION_HANDLE session = 0;
    ASSERT_EQ(p11_.Open(*slot, session), CKR_OK);
    ASSERT_EQ(p11_.Login(session, std::getenv("P11_PIN")), CKR_OK);
    for (int i = 0; i < kClients; ++i) {
      clients_.push_back(std::make_unique<Client>(p11_, *slot, "client" + std::to_string(i) + "-", token));
      clients_.back()->Prepare();
      if (HasFatalFailure()) return;
    }
  }

  // The processes that the daemon has for its HSMs.
  std::vector<int> Hosts() const;
  bool DaemonLives() const { return ::kill(daemon_, 0) == 0; }
  // All threads at once.
  template <class Work>
  void Everybody(Work work) {
    std::vector<std::thread> threads;
    for (auto& client : clients_) threads.emplace_back([&work, &client] { work(*client); });
    for (std::thread& thread : threads) thread.join();
  }

  int daemon_ = 0;
  LoadedModule p11_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace cmkd::tests
