// The shared secret of a cluster, and message authentication with it.
#pragma once
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace orchestra::net {

inline constexpr std::size_t kMinSecretBytes = 16;
inline constexpr std::size_t kMaxSecretBytes = 4096;

// Key bytes that are wiped when they are no longer needed. Moves, never copies.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view bytes) : bytes_(bytes) {}
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { Wipe(); }
  std::string_view bytes() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }

 private:
  void Wipe();
  std::string bytes_;
};

// Reads `path`: a regular file of the effective user or root, without any right for group or
// others, kMinSecretBytes to kMaxSecretBytes long without one trailing newline. On failure one
// sentence that says what to do; the file's contents never appear in it.
std::variant<Secret, std::string> LoadSecret(const std::string& path);

inline constexpr std::size_t kMacBytes = 32;
using Mac = std::array<unsigned char, kMacBytes>;

// HMAC-SHA-256. false: the library failed, `*mac` is unusable.
bool ComputeMac(std::string_view key, std::string_view data, Mac* mac);
// In constant time. `mac` must hold kMacBytes.
bool CheckMac(std::string_view key, std::string_view data, std::string_view mac);

// Fills `bytes` from the kernel. false: no randomness yet.
bool RandomBytes(unsigned char* bytes, std::size_t count);

}  // namespace orchestra::net
