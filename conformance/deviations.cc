// Reads and matches lists of deviations.
#include "conformance/deviations.h"

#include <fstream>

namespace cmkd::conformance {

Result<std::vector<Deviation>, std::string> ReadDeviations(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Failure{"cannot read " + path};
  std::vector<Deviation> deviations;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const std::size_t gap = line.find_first_of(" \t");
    const std::size_t reason = gap == std::string::npos ? gap : line.find_first_not_of(" \t", gap);
    if (reason == std::string::npos) return Failure{path + ':' + std::to_string(number) + ": no reason"};
    deviations.push_back({line.substr(0, gap), line.substr(reason)});
  }
  return deviations;
}

bool Fits(std::string_view pattern, std::string_view name) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (std::size_t at = star; at <= name.size(); ++at) {
    if (Fits(rest, name.substr(at))) return true;
  }
  return false;
}

const Deviation* FindDeviation(const std::vector<Deviation>& deviations, std::string_view name) {
  for (const Deviation& deviation : deviations) {
    if (Fits(deviation.pattern, name)) return &deviation;
  }
  return nullptr;
}

}  // namespace cmkd::conformance
