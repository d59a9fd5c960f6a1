// Processes by fork, before any module is loaded; they start together and send their times home through pipes.
#include "tests/bench/measure.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <new>
#include <thread>

namespace cmkd::bench {

namespace {

using Clock = std::chrono::steady_clock;

// Shared by all processes: who is ready, and whether somebody could not be.
struct Gate {
  std::atomic<unsigned> ready{0};
  std::atomic<bool> open{false};
};

struct Part {
  std::vector<double> times;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::string trouble;
  bool left_out = false;
};

std::int64_t Nanoseconds(Clock::time_point time) { return time.time_since_epoch().count(); }

void RunFor(Run& run, const Load& load, const Case& which, Part& part) {
  const std::size_t limits[] = {which.runs_max == 0 ? SIZE_MAX : which.runs_max,
                                load.runs_max == 0 ? SIZE_MAX : load.runs_max};
  const std::size_t runs_max = std::min(limits[0], limits[1]);
  const Clock::time_point end = Clock::now() + load.time;
  Clock::time_point before = Clock::now();
  part.begin = Nanoseconds(before);
  while (part.times.size() < runs_max) {
    run.Once();
    const Clock::time_point after = Clock::now();
    part.times.push_back(std::chrono::duration<double, std::micro>(after - before).count());
    run.After();
    if (after >= end) break;
    before = Clock::now();
  }
  part.end = Nanoseconds(Clock::now());
}

// One thread's work: prepares, warms up, waits for all others, runs.
void Work(const Token& token, const Case& which, const CaseOptions& options, const Load& load, Gate& gate, Part& part) {
  constexpr int kWarmUp = 20;  // the module's connections, caches and lanes
  std::unique_ptr<Run> run;
  try {
    part.times.reserve(1 << 16);
    run = which.prepare(token, options);
    for (int i = 0; i < (which.runs_max == 0 ? kWarmUp : 1); ++i) {
      run->Once();
      run->After();
    }
  } catch (const NotOffered& e) {
    part.trouble = e.what();
    part.left_out = true;
  } catch (const std::exception& e) {
    part.trouble = e.what();
  }
  ++gate.ready;
  while (!gate.open) std::this_thread::yield();
  if (!part.trouble.empty()) return;
  try {
    RunFor(*run, load, which, part);
  } catch (const std::exception& e) {
    part.trouble = e.what();
  }
}

std::vector<Part> WorkInThreads(const TokenOptions& token_options, const Case& which, const CaseOptions& options,
                                const Load& load, Gate& gate) {
  std::vector<Part> parts(load.threads);
  try {
    const Token token(token_options);
    std::vector<std::thread> threads;
    for (Part& part : parts) threads.emplace_back([&] { Work(token, which, options, load, gate, part); });
    for (std::thread& thread : threads) thread.join();
  } catch (const std::exception& e) {
    parts.front().trouble = e.what();
    gate.ready += load.threads;
  }
  return parts;
}

void Put(int fd, const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes != 0) {
    const ssize_t sent = ::write(fd, at, bytes);
    if (sent <= 0) ::_exit(1);
    at += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
}

bool Get(int fd, void* data, std::size_t bytes) {
  auto* at = static_cast<char*>(data);
  while (bytes != 0) {
    const ssize_t got = ::read(fd, at, bytes);
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

void Send(int fd, const Part& part) {
  const std::uint64_t sizes[] = {part.times.size(), part.trouble.size(), part.left_out ? 1u : 0u};
  Put(fd, sizes, sizeof sizes);
  Put(fd, &part.begin, sizeof part.begin);
  Put(fd, &part.end, sizeof part.end);
  Put(fd, part.times.data(), part.times.size() * sizeof(double));
  Put(fd, part.trouble.data(), part.trouble.size());
}

Part ReceivePart(int fd) {
  Part part;
  std::uint64_t sizes[3] = {};
  bool whole =
      Get(fd, sizes, sizeof sizes) && Get(fd, &part.begin, sizeof part.begin) && Get(fd, &part.end, sizeof part.end);
  if (whole) {
    part.times.resize(sizes[0]);
    part.trouble.resize(sizes[1]);
    part.left_out = sizes[2] != 0;
    whole = Get(fd, part.times.data(), sizes[0] * sizeof(double)) && Get(fd, part.trouble.data(), sizes[1]);
  }
  if (!whole) part.trouble = "a process of the benchmark died";
  return part;
}

}  // namespace

double Figures::Quantile(double share) const {
  if (times.empty()) return 0;
  return times[std::min(times.size() - 1, static_cast<std::size_t>(share * static_cast<double>(times.size())))];
}

double Figures::ShareBeyond(double microseconds) const {
  if (times.empty()) return 0;
  const auto beyond = times.end() - std::upper_bound(times.begin(), times.end(), microseconds);
  return static_cast<double>(beyond) / static_cast<double>(times.size());
}

std::optional<Figures> Measure(const TokenOptions& token, const Case& which, const CaseOptions& options,
                               const Load& load, std::string& left_out) {
  void* shared = ::mmap(nullptr, sizeof(Gate), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::bad_alloc();
  Gate& gate = *new (shared) Gate;
  struct Child {
    pid_t pid;
    int from;
  };
  std::vector<Child> children;
  for (unsigned i = 0; i < load.processes; ++i) {
    int ends[2];
    if (::pipe(ends) != 0) throw Trouble("no pipe");
    const pid_t pid = ::fork();
    if (pid < 0) throw Trouble("no process");
    if (pid == 0) {
      for (const Part& part : WorkInThreads(token, which, options, load, gate)) Send(ends[1], part);
      ::_exit(0);
    }
    ::close(ends[1]);
    children.push_back({pid, ends[0]});
  }
  while (gate.ready < load.processes * load.threads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  gate.open = true;
  std::vector<Part> parts;
  for (const Child& child : children) {
    for (unsigned i = 0; i < load.threads; ++i) parts.push_back(ReceivePart(child.from));
    ::close(child.from);
    ::waitpid(child.pid, nullptr, 0);
  }
  ::munmap(shared, sizeof(Gate));

  Figures figures;
  std::int64_t begin = INT64_MAX;
  std::int64_t end = 0;
  for (const Part& part : parts) {
    if (part.left_out) {
      left_out = part.trouble;
      return std::nullopt;
    }
    if (!part.trouble.empty()) throw Trouble(part.trouble);
    figures.runs += part.times.size();
    figures.times.insert(figures.times.end(), part.times.begin(), part.times.end());
    begin = std::min(begin, part.begin);
    end = std::max(end, part.end);
  }
  std::sort(figures.times.begin(), figures.times.end());
  figures.seconds = static_cast<double>(end - begin) * 1e-9;
  return figures;
}

}  // namespace cmkd::bench
