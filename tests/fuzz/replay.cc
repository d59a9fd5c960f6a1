// The main program of a fuzz target in builds without libFuzzer: runs every seed of a folder, every seed cut short, and
// a fixed number of changed seeds. The same input always gives the same run, so a failure here is repeatable.
//
// Usage: fuzz_NAME [SEEDS_FOLDER|SEED_FILE]...      CMKD_FUZZ_ROUNDS=N changes each seed N times (default 200)
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kEveryPrefixUpTo = 4096;  // longer seeds are cut at as many places, evenly spread

// An exact copy on the heap, so that a sanitizer sees the first byte read past the end.
void Run(const Input& input) {
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

Input Read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<Input> ReadSeeds(int argc, char** argv) {
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
        if (entry.is_regular_file()) paths.push_back(entry.path());
      }
    } else if (std::filesystem::exists(argv[i])) {
      paths.emplace_back(argv[i]);
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Input> seeds = {Input{}, Input(1, 0), Input(64, 0), Input(64, 0xff)};
  for (const auto& path : paths) seeds.push_back(Read(path));
  return seeds;
}

void RunPrefixes(const Input& seed) {
  const std::size_t step = std::max<std::size_t>(1, seed.size() / kEveryPrefixUpTo);
  for (std::size_t length = 0; length <= seed.size(); length += step) {
    Run(Input(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(length)));
  }
}

class Mutator {
 public:
  explicit Mutator(const std::vector<Input>& seeds) : seeds_(seeds) {}

  Input Change(Input input) {
    for (std::size_t edits = 1 + Below(4); edits > 0; --edits) ChangeOnce(input);
    return input;
  }

 private:
  std::size_t Below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void ChangeOnce(Input& input) {
    // Lengths, counts and handles break at their ends, so the ends are tried more often than chance would.
    static constexpr std::uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    const auto at = static_cast<std::ptrdiff_t>(Below(input.size()));
    if (input.empty()) return input.push_back(static_cast<std::uint8_t>(random_()));
    switch (Below(6)) {
      case 0: input[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1U << Below(8)); break;
      case 1: input[static_cast<std::size_t>(at)] = kEdges[Below(std::size(kEdges))]; break;
      case 2: input.insert(input.begin() + at, kEdges[Below(std::size(kEdges))]); break;
      case 3: input.erase(input.begin() + at); break;
      case 4: FillFrom(input, at); break;
      default: Splice(input, at); break;
    }
  }

  // A run of one edge value, as long as an integer of the wire.
  void FillFrom(Input& input, std::ptrdiff_t at) {
    static constexpr std::size_t kWidths[] = {2, 4, 8};
    const std::size_t width = std::min(kWidths[Below(3)], input.size() - static_cast<std::size_t>(at));
    std::fill_n(input.begin() + at, width, Below(2) == 0 ? std::uint8_t{0xff} : std::uint8_t{0});
  }

  void Splice(Input& input, std::ptrdiff_t at) {
    const Input& other = seeds_[Below(seeds_.size())];
    input.resize(static_cast<std::size_t>(at));
    const auto from = other.begin() + static_cast<std::ptrdiff_t>(std::min(input.size(), other.size()));
    input.insert(input.end(), from, other.end());
  }

  const std::vector<Input>& seeds_;
  std::mt19937 random_{20240229};
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Input> seeds = ReadSeeds(argc, argv);
  const char* wanted = std::getenv("CMKD_FUZZ_ROUNDS");
  const int rounds = wanted == nullptr ? 200 : std::atoi(wanted);
  Mutator mutator(seeds);
  for (const Input& seed : seeds) {
    RunPrefixes(seed);
    for (int i = 0; i < rounds; ++i) Run(mutator.Change(seed));
  }
  std::printf("%zu seeds, each cut short everywhere and changed %d times: none harmed the target\n", seeds.size(),
              rounds);
}
