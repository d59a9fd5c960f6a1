// What the tests of one application with a daemon of its own stand on. The daemon has to have ended well when a test is
// over, so that one which fell or whose sanitizer had something to say is seen.
#pragma once

#include <gtest/gtest.h>

#include "tests/module/own_daemon.h"

namespace cmkd::tests {

class OwnDaemonTest : public ::testing::Test {
 protected:
  // `more` is added to the configuration file.
  explicit OwnDaemonTest(const std::string& more = {}) : daemon_(more) {}

  void SetUp() override {
    ::unsetenv("P11_MODULE");
    ASSERT_TRUE(p11_.loaded());
    ASSERT_TRUE(daemon_.Start());
    ASSERT_TRUE(daemon_.MakeToken());
  }
  void TearDown() override {
    p11_.Unload();
    EXPECT_TRUE(daemon_.Stop(SIGTERM)) << "the daemon did not end well";
  }

  // Initialised, and the token found.
  void Initialise() {
    ASSERT_EQ(p11_->C_Initialize(nullptr), CKR_OK);
    const auto slot = p11_.FindToken(kTokenLabel);
    ASSERT_TRUE(slot.has_value());
    slot_ = *slot;
  }
  // That, with a read/write session; logged in when asked.
  void Begin(bool login = true) {
    ASSERT_NO_FATAL_FAILURE(Initialise());
    ASSERT_EQ(p11_.Open(slot_, session_), CKR_OK);
    if (login) {
      ASSERT_EQ(p11_.Login(session_, kUserPin), CKR_OK);
    }
  }

  OwnDaemon daemon_;
  LoadedModule p11_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
};

}  // namespace cmkd::tests
