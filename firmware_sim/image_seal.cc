// See image_seal.h.
#include "firmware_sim/image_seal.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <mutex>

#include "firmware_sim/file.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

// No secret: everybody may compute the seal of a file.
constexpr std::string_view kSealKey = "cmkd firmware_sim image seal, version 1";
constexpr std::size_t kSealBytes = 32;
using ImageSeal = std::array<std::uint8_t, kSealBytes>;

// What ImageHolds() looks for; nothing else in here is this number.
constexpr std::uint64_t kProof = 0x0ddba11f00d5ca1e;
std::atomic<std::uint64_t> proof{0};

// Read anew each time, so that nothing can be left out because it was known.
std::uint64_t Policy() { return *const_cast<const volatile std::uint64_t*>(&kImagePolicy); }

Failure<Error> Failed(const std::string& why) { return Fail(CKR_FIPS_SELF_TEST_FAILED, "image: " + why); }

// The file that this code is mapped from. The loader's own name for it may be relative to another time's folder.
std::string ImagePath() {
  const auto here = reinterpret_cast<std::uintptr_t>(&ImagePath);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    const char* const last = line.data() + line.size();
    const auto first = std::from_chars(line.data(), last, begin, 16);
    if (first.ptr == last || *first.ptr != '-') continue;
    if (std::from_chars(first.ptr + 1, last, end, 16).ec != std::errc() || here < begin || here >= end) continue;
    const std::size_t path = line.find('/');
    return path == line.npos ? std::string() : line.substr(path);
  }
  return {};
}

Fallible<ImageSeal> ComputeSeal(const std::string& image) {
  const File file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return Failed(image + " cannot be read");
  ASSIGN_OR_RETURN(const KeyPtr key, Key::Secret(CKK_GENERIC_SECRET, SecretBytes(AsBytes(kSealKey))));
  const CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  ASSIGN_OR_RETURN(const auto mac, MakeSignature(*spec::FindMechanism(CKM_SHA256_HMAC), mechanism, *key));
  Bytes piece(std::size_t{1} << 18);
  for (;;) {
    const ssize_t got = ::read(file.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(image + " cannot be read");
    if (got == 0) break;
    RETURN_IF_ERROR(mac->Update(ByteView(piece).first(static_cast<std::size_t>(got))));
  }
  ImageSeal seal{};
  ASSIGN_OR_RETURN(const std::size_t bytes, mac->Sign(seal));
  if (bytes != seal.size()) return Failed("a seal of a wrong length");
  return seal;
}

Fallible<ImageSeal> ReadSeal(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return Failed("there is no seal in " + path);
  ImageSeal seal{};
  if (line.size() != 2 * seal.size()) return Failed(path + " is no seal");
  for (std::size_t i = 0; i < seal.size(); ++i) {
    const char* const digits = line.data() + 2 * i;
    if (std::from_chars(digits, digits + 2, seal[i], 16).ptr != digits + 2) return Failed(path + " is no seal");
  }
  return seal;
}

Status Compare() {
  if (Policy() == kUnsealedImage) {
    // Right only if that was the policy.
    proof.store(Policy() ^ kUnsealedImage ^ kProof);
    return {};
  }
  const std::string image = ImagePath();
  if (image.empty()) return Failed("it cannot be found");
  ASSIGN_OR_RETURN(const ImageSeal computed, ComputeSeal(image));
  ASSIGN_OR_RETURN(const ImageSeal written, ReadSeal(SealPath(image)));
  std::uint64_t difference = 0;
  for (std::size_t i = 0; i < computed.size(); ++i) {
    const auto byte = static_cast<std::uint64_t>(computed[i] ^ written[i]);
    difference |= byte << (i % 8 * 8);
  }
  proof.store(difference ^ kProof);
  if (!ConstantTimeEqual(computed, written)) return Failed(image + " is not what was built");
  return {};
}

}  // namespace

Status CheckImage() {
  static std::mutex* const mutex = new std::mutex;
  static std::atomic<int> verdict{0};  // 1: it holds, 2: it does not
  const std::lock_guard lock(*mutex);
  if (verdict == 1) return {};
  if (verdict == 2) return Fail(CKR_GENERAL_ERROR, "the image failed its integrity test");
  Status compared = Compare();
  verdict = compared.ok() ? 1 : 2;
  return compared;
}

bool ImageHolds() { return proof.load() == kProof; }

std::string SealPath(const std::string& image) {
  const std::size_t name = image.rfind('/') + 1;
  return image.substr(0, name) + '.' + image.substr(name) + ".hmac";
}

Status SealImage(const std::string& image) {
  ASSIGN_OR_RETURN(const ImageSeal seal, ComputeSeal(image));
  const std::string path = SealPath(image);
  const std::string temporary = path + kTemporary;
  {
    const File file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0 || !WriteAll(file.get(), AsBytes(Hex(seal) + '\n')))
      return Fail(CKR_ARGUMENTS_BAD, temporary + " cannot be written");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return Fail(CKR_ARGUMENTS_BAD, path + " cannot be written");
  return {};
}

}  // namespace cmkd::sim
