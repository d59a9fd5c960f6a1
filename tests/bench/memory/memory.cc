// cmkd-bench-memory: what each idle client, session or key takes of a server's memory, and whether the last of many
// takes longer than the first. One line on standard output, tab-separated. The server should be new, for what it keeps
// of others serves the next. compare.sh does, with a sandbox for each that has room for so many (--set):
//
//   cmkctl sandbox -- sh -c 'cmkd-bench-memory --module "$P11_MODULE" --token "$P11_TOKEN" --pin "$P11_PIN"
//     --of "$CMKD_DAEMON_PID" --what session --count 1000'
#include <CLI/CLI.hpp>
#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "tests/bench/idle.h"

namespace {

using namespace cmkd::bench;
using Clock = std::chrono::steady_clock;

// Bytes of a process that are in memory and not in a file, as the audit log's are; lanes are.
double Resident(pid_t of) {
  std::ifstream status("/proc/" + std::to_string(of) + "/status");
  double bytes = 0;
  for (std::string word; status >> word;) {
    double kib = 0;
    if ((word == "RssAnon:" || word == "RssShmem:") && status >> kib) bytes += kib * 1024;
  }
  if (bytes == 0) throw Trouble("there is no process " + std::to_string(of));
  return bytes;
}

// The same when a server has done what it still had to do: twice the same, or after three seconds.
double Settled(pid_t of) {
  double now = Resident(of);
  for (int i = 0; i < 30; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const double before = std::exchange(now, Resident(of));
    if (now == before) break;
  }
  return now;
}

// Microseconds of each of `count` runs.
std::vector<double> Times(std::size_t count, const std::function<void(std::size_t)>& run) {
  std::vector<double> times;
  times.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Clock::time_point begin = Clock::now();
    run(i);
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  return times;
}

// The median of the first or last tenth.
double Tenth(const std::vector<double>& times, bool last) {
  const auto tenth = static_cast<std::ptrdiff_t>(std::max<std::size_t>(times.size() / 10, 1));
  if (times.empty()) return 0;
  std::vector<double> part(last ? times.end() - tenth : times.begin(), last ? times.end() : times.begin() + tenth);
  std::nth_element(part.begin(), part.begin() + tenth / 2, part.end());
  return part[static_cast<std::size_t>(tenth / 2)];
}

class Measurement {
 public:
  Measurement(TokenOptions options, pid_t of) : options_(std::move(options)), of_(of) {}

  void Clients(std::size_t count) {
    const double before = Settled(of_);
    IdleClients clients(options_, count);
    const double with = Settled(of_);
    clients.Leave();
    Print("client", count, before, with, {}, {}, "daemon.max_connections, daemon.max_connections_per_uid");
  }

  void Sessions(std::size_t count) {
    (void)token();  // loaded and logged in
    std::vector<CK_SESSION_HANDLE> sessions(count);
    const double before = Settled(of_);
    const auto opened = Times(count, [&](std::size_t i) { sessions[i] = token().OpenSession(); });
    const double with = Settled(of_);
    const auto closed =
        Times(count, [&](std::size_t i) { Check(token()->C_CloseSession(sessions[i]), "C_CloseSession"); });
    Print("session", count, before, with, opened, closed, "limits.sessions_per_application");
  }

  // Sensitive keys of a session, not used.
  void SessionKeys(std::size_t count) {
    const CK_SESSION_HANDLE session = token().OpenSession();
    std::vector<CK_OBJECT_HANDLE> keys(count);
    const double before = Settled(of_);
    const auto made = Times(count, [&](std::size_t i) { keys[i] = MakeAesKey(token(), session, "", false, false); });
    const double with = Settled(of_);
    const auto gone =
        Times(count, [&](std::size_t i) { Check(token()->C_DestroyObject(session, keys[i]), "C_DestroyObject"); });
    token()->C_CloseSession(session);
    Print("session-key", count, before, with, made, gone, "limits.objects_per_application");
  }

  // Keys of the token: their records as the first use reads them, and the keys in the device. Those are not given back.
  void TokenKeys(std::size_t count) {
    const CK_SESSION_HANDLE session = token().OpenSession();
    Fill(token(), count);
    const double before = Settled(of_);
    const auto used = Times(count, [&](std::size_t i) {
      CK_BYTE iv[12] = {};
      CK_GCM_PARAMS parameter{};
      parameter.pIv = iv;
      parameter.ulIvLen = sizeof iv;
      parameter.ulIvBits = 8 * sizeof iv;
      parameter.ulTagBits = 128;
      CK_MECHANISM mechanism{CKM_AES_GCM, &parameter, sizeof parameter};
      CK_BYTE bytes[64] = {};
      CK_ULONG length = sizeof bytes;
      const CK_OBJECT_HANDLE key = FindByLabel(token(), session, CKO_SECRET_KEY, FillLabel(i));
      Check(token()->C_EncryptInit(session, &mechanism, key), "C_EncryptInit");
      Check(token()->C_Encrypt(session, bytes, 32, bytes, &length), "C_Encrypt");
    });
    token()->C_CloseSession(session);
    Print("token-key", count, before, Settled(of_), used, {}, "limits.key_cache_entries");
  }

  static void Header() {
    std::puts("what\tcount\tbytes_each\tkept_each\tbegin_first_us\tbegin_last_us\tend_first_us\tend_last_us\tbound");
  }

 private:
  const Token& token() {
    if (!token_) token_.emplace(options_);
    return *token_;
  }
  // `kept` is what the server has not given back when all of them are gone; a cache that is still warm counts, too.
  void Print(const char* what, std::size_t count, double before, double with, const std::vector<double>& begun,
             const std::vector<double>& ended, const char* bound) const {
    const auto each = [&](double bytes) { return bytes / static_cast<double>(count); };
    std::printf("%s\t%zu\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\n", what, count, each(with - before),
                each(Settled(of_) - before), Tenth(begun, false), Tenth(begun, true), Tenth(ended, false),
                Tenth(ended, true), bound);
    std::fflush(stdout);
  }

  const TokenOptions options_;
  const pid_t of_;
  std::optional<Token> token_;
};

}  // namespace

int main(int argc, char** argv) {
  TokenOptions options;
  pid_t of = 0;
  std::string what;
  std::size_t count = 1000;
  bool header = false;
  CLI::App app("Measures what a PKCS#11 module's server needs for each client, session or key.");
  app.add_option("--module", options.module, "Path of the module");
  app.add_option("--token", options.label, "Label of the token");
  app.add_option("--pin", options.pin, "The user's PIN");
  app.add_option("--of", of, "Process id of the server");
  app.add_option("--what", what, "client (an idle process), session, session-key, or token-key (used once)")
      ->check(CLI::IsMember({"client", "session", "session-key", "token-key"}));
  app.add_option("--count", count, "How many (1000)")->check(CLI::Range(1, 1'000'000));
  app.add_flag("--header", header, "Print the names of the columns first");
  CLI11_PARSE(app, argc, argv);
  if (header) Measurement::Header();
  try {
    Measurement measurement(options, of);
    if (what == "client") measurement.Clients(count);
    if (what == "session") measurement.Sessions(count);
    if (what == "session-key") measurement.SessionKeys(count);
    if (what == "token-key") measurement.TokenKeys(count);
  } catch (const std::exception& e) {
    std::cerr << "cmkd-bench-memory: " << e.what() << '\n';
    return 1;
  }
  return 0;
}
