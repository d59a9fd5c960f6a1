// A program at work while its HSM fails: it encrypts, decrypts, signs, makes, rotates and destroys keys, remembers what
// it was told, asks again after an error, and holds the daemon to every answer.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/module/loaded_module.h"

namespace cmkd::tests {

// An error that the program was told: of which function.
struct Told {
  spec::CallId call{};
  CK_RV rv = CKR_OK;
};
std::string Describe(const Told& told);
// Whether a program can be prepared for it: it stands in the standard's list for this function.
bool IsDefined(const Told& told);

// One thread of the program. Used by one thread at a time, but for what says otherwise.
class Client {
 public:
  // `name` goes in front of the labels of its keys; `token` is the label for cmkctl.
  Client(LoadedModule& p11, CK_SLOT_ID slot, std::string name, std::string token);
  // Keys and reference answers, before anything goes wrong.
  void Prepare();
  // Everything once. `rotate`: with a rotation, which is an operator's command.
  void Round(bool rotate);
  // Only what uses keys that are there, and makes none. `parts`: also in several calls, between which the device keeps
  // what it was fed.
  void ReadRound(bool parts);
  // Everything that was acknowledged is there and works, and what was destroyed is not.
  void CheckKept();

  std::vector<Told> TakeErrors() { return std::exchange(errors_, {}); }
  // Any thread: so many errors, and so many pieces of work done.
  int errors() const { return error_count_; }
  int done() const { return done_; }

 private:
  struct Kept {
    CK_OBJECT_HANDLE key = 0;
    std::string label;
    Bytes sealed;
  };
  // Notes what a call gave.
  CK_RV Say(spec::CallId call, CK_RV rv);
  // Asks again until it works, and notes each error.
  void Until(const char* what, const std::function<CK_RV()>& work);

  CK_RV Seal(CK_OBJECT_HANDLE key, Bytes& out);
  CK_RV Open(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& out);
  // Whether the key is the one that gave this ciphertext.
  CK_RV Same(CK_OBJECT_HANDLE key, const Bytes& sealed, const char* what);
  CK_RV Whole(CK_RV init, spec::CallId call, CK_C_Encrypt function, const Bytes& in, Bytes& out);
  CK_RV Generate(Template wanted, CK_OBJECT_HANDLE& key);
  CK_RV Destroy(CK_OBJECT_HANDLE key);

  void Macs();
  void MacsInParts();
  void Ciphers();
  void Parts();
  void Digests();
  void DigestsInParts();
  void Random();
  void Pairs();
  void Wrapping();
  void AuthenticatedWrapping();
  void Deriving();
  void Importing();
  void Copying();
  void Life(bool rotate);
  void End(const Kept& kept);
  CK_RV Gone(const Kept& gone);

  CK_RV MacInParts(Bytes& out);
  CK_RV CbcInParts(bool encrypt, const Bytes& in, Bytes& out);
  CK_RV DigestInParts(Bytes& out);
  CK_RV Derive(CK_OBJECT_HANDLE& key);
  CK_RV Import(CK_OBJECT_HANDLE& key);
  CK_RV WrapPlain(Bytes& out);

  LoadedModule& p11_;
  const CK_SLOT_ID slot_;
  const std::string name_, token_;
  CK_SESSION_HANDLE session_ = 0;
  CK_OBJECT_HANDLE aes_ = 0, cbc_ = 0, mac_ = 0, wrap_ = 0, seal_wrap_ = 0, base_ = 0, plain_ = 0;
  Bytes mac_value_, sealed_, cbc_sealed_, digest_, derived_, imported_, wrapped_, plain_sealed_;
  bool wraps_authenticated_ = false;
  std::deque<Kept> kept_, gone_;
  int keys_ = 0;
  Told last_;
  std::vector<Told> errors_;
  std::atomic<int> error_count_{0};
  std::atomic<int> done_{0};
};

}  // namespace cmkd::tests
