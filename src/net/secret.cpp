#include "net/secret.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "net/socket.h"

namespace orchestra::net {

Secret::Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.Wipe(); }

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_ = other.bytes_;
    other.Wipe();
  }
  return *this;
}

void Secret::Wipe() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
  bytes_.clear();
}

namespace {

// What is wrong with the file behind `fd`, or empty.
std::string Unfit(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0)
    return "could not examine secret file \"" + path + "\": " + ErrnoText(errno);
  if (!S_ISREG(info.st_mode)) return "secret file \"" + path + "\" is not a regular file";
  if (info.st_uid != geteuid() && info.st_uid != 0)
    return "secret file \"" + path + "\" must be owned by the server's user or by root";
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return "secret file \"" + path + "\" can be reached by others than its owner; run: chmod 600 " +
           path;
  return {};
}

}  // namespace

std::variant<Secret, std::string> LoadSecret(const std::string& path) {
  // O_NONBLOCK: a FIFO must not hang the server.
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid())
    return "could not open secret file \"" + path + "\": " + ErrnoText(errno) +
           (errno == ENOENT ? "; put at least 16 random bytes into it and run: chmod 600 " + path
                            : "");
  if (std::string problem = Unfit(file.get(), path); !problem.empty()) return problem;

  char buffer[kMaxSecretBytes + 2];
  std::size_t size = 0;
  while (size < sizeof buffer) {
    const ssize_t got = read(file.get(), buffer + size, sizeof buffer - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int code = errno;
      OPENSSL_cleanse(buffer, sizeof buffer);
      return "could not read secret file \"" + path + "\": " + ErrnoText(code);
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > 0 && buffer[size - 1] == '\n') --size;
  Secret secret(std::string_view(buffer, size <= kMaxSecretBytes ? size : 0));
  OPENSSL_cleanse(buffer, sizeof buffer);
  if (size < kMinSecretBytes || size > kMaxSecretBytes)
    return "secret file \"" + path + "\" must hold " + std::to_string(kMinSecretBytes) + " to " +
           std::to_string(kMaxSecretBytes) + " bytes";
  return secret;
}

bool ComputeMac(std::string_view key, std::string_view data, Mac* mac) {
  unsigned int size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  return HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes, data.size(),
              mac->data(), &size) != nullptr &&
         size == mac->size();
}

bool CheckMac(std::string_view key, std::string_view data, std::string_view mac) {
  Mac right{};
  return mac.size() == right.size() && ComputeMac(key, data, &right) &&
         CRYPTO_memcmp(right.data(), mac.data(), right.size()) == 0;
}

bool RandomBytes(unsigned char* bytes, std::size_t count) {
  // Up to 256 bytes come whole or not at all; GRND_NONBLOCK since early at boot it could wait.
  while (count > 0) {
    const std::size_t part = count < 256 ? count : 256;
    const ssize_t got = getrandom(bytes, part, GRND_NONBLOCK);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace orchestra::net
