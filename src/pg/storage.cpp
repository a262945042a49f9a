#include "pg/storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/socket.h"
#include "pg/faults.h"
#include "pg/pg.h"

namespace orchestra::pg {
namespace {

constexpr const char* kDirectory = "orchestra";
constexpr const char* kMarker = "orchestra/cluster";
constexpr const char* kSaved = "orchestra/saved_settings";
constexpr const char* kVoteDirectory = "orchestra/pgsql_tmp_vote";
constexpr const char* kVote = "orchestra/pgsql_tmp_vote/vote";
constexpr std::size_t kMaxFileBytes = 1024 * 1024;

std::string Failed(const char* what, const std::string& path) {
  const int code = errno;
  return std::string("could not ") + what + " \"" + path + "\": " + net::ErrnoText(code);
}

net::Fd Open(const std::string& path, int flags) {
  return net::Fd(open(path.c_str(), flags | O_CLOEXEC, 0600));
}

std::string ReadWhole(const net::Fd& fd, const char* path, std::string* bytes) {
  char buffer[8192];
  for (;;) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read", path);
    if (got == 0) return "";
    bytes->append(buffer, static_cast<std::size_t>(got));
    if (bytes->size() > kMaxFileBytes) return std::string("\"") + path + "\" is too long";
  }
}

// "": read, or not there.
std::string ReadFile(const char* path, bool* present, std::string* bytes) {
  // O_NONBLOCK: nobody's named pipe holds the postmaster up.
  const net::Fd fd = Open(path, O_RDONLY | O_NONBLOCK);
  if (!fd.valid() && errno == ENOENT) return "";
  *present = true;
  return fd.valid() ? ReadWhole(fd, path, bytes) : Failed("open", path);
}

// FNV-1a of what /etc/machine-id says; 0: nobody knows which machine this is.
std::uint64_t MachineHash() {
  bool present = false;
  std::string id;
  if (!ReadFile(faults::MachineIdFile(), &present, &id).empty()) return 0;
  while (!id.empty() && id.back() == '\n') id.pop_back();
  if (id.empty()) return 0;
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return std::max(hash, std::uint64_t{1});
}

std::string SyncDirectory(const char* path) {
  const net::Fd fd = Open(path, O_RDONLY | O_DIRECTORY);
  if (!fd.valid()) return Failed("open", path);
  return fsync(fd.get()) == 0 ? "" : Failed("fsync", path);
}

std::string WriteAll(const net::Fd& fd, const std::string& path, const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t put = write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return Failed("write", path);
    done += static_cast<std::size_t>(put);
  }
  return fsync(fd.get()) == 0 ? "" : Failed("fsync", path);
}

std::string Replace(const char* directory, const char* path, const std::string& bytes) {
  const std::string fresh = std::string(path) + ".new";
  {
    const net::Fd fd = Open(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    if (!fd.valid()) return Failed("create", fresh);
    if (std::string error = WriteAll(fd, fresh, bytes); !error.empty()) return error;
  }
  if (rename(fresh.c_str(), path) != 0) return Failed("rename", fresh);
  return SyncDirectory(directory);
}

std::string MakeDirectory(const char* parent, const char* path) {
  if (mkdir(path, 0700) == 0) return SyncDirectory(parent);
  return errno == EEXIST ? "" : Failed("create directory", path);
}

std::string Remove(const char* directory, const char* path) {
  if (unlink(path) == 0) return SyncDirectory(directory);
  return errno == ENOENT ? "" : Failed("remove", path);
}

}  // namespace

Surroundings ReadSurroundings() {
  Surroundings found;
  found.system_identifier = GetSystemIdentifier();
  struct statx anchor {};
  if (statx(AT_FDCWD, kVoteDirectory, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &anchor) == 0) {
    found.inode = anchor.stx_ino;
    found.device = std::uint64_t{anchor.stx_dev_major} << 32 | anchor.stx_dev_minor;
    if ((anchor.stx_mask & STATX_BTIME) != 0)
      found.birth_time_us = anchor.stx_btime.tv_sec * 1'000'000 + anchor.stx_btime.tv_nsec / 1000;
  }
  found.machine = MachineHash();
  found.read_error = ReadFile(kMarker, &found.marker_present, &found.marker_bytes);
  std::string error = ReadFile(kVote, &found.vote_present, &found.vote_bytes);
  if (found.read_error.empty()) found.read_error = std::move(error);
  return found;
}

std::string PrepareStorage() {
  if (std::string error = MakeDirectory(".", kDirectory); !error.empty()) return error;
  return MakeDirectory(kDirectory, kVoteDirectory);
}

std::string WriteVote(const std::string& bytes) { return Replace(kVoteDirectory, kVote, bytes); }

std::string WriteMarker(const std::string& bytes) { return Replace(kDirectory, kMarker, bytes); }

std::string RemoveMembership() {
  if (std::string error = Remove(kDirectory, kMarker); !error.empty()) return error;
  return Remove(kVoteDirectory, kVote);
}

std::string ReadSavedFile(bool* present, std::string* bytes) {
  return ReadFile(kSaved, present, bytes);
}

std::string WriteSavedFile(const std::string& bytes) { return Replace(kDirectory, kSaved, bytes); }

std::string RemoveSavedFile() { return Remove(kDirectory, kSaved); }

}  // namespace orchestra::pg
