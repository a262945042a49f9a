// Preloaded into a server: a disk that is full. While the file DISK_FULL_FLAG exists, every write
// to a file below DISK_FULL_DIR fails with ENOSPC; each one that did is a line in the flag file
// (the file's name). Files can be made and removed all the same, as on a disk without free blocks.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool Below(const char* path, const char* dir) {
  const std::size_t length = std::strlen(dir);
  return std::strncmp(path, dir, length) == 0 && path[length] == '/';
}

auto Next() {
  return reinterpret_cast<ssize_t (*)(int, const void*, size_t)>(dlsym(RTLD_NEXT, "write"));
}

// Whether a write to `fd` finds no space; notes that.
bool Full(int fd) {
  const char* flag = std::getenv("DISK_FULL_FLAG");
  const char* dir = std::getenv("DISK_FULL_DIR");
  if (flag == nullptr || dir == nullptr || access(flag, F_OK) != 0) return false;
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 2);
  if (length < 0) return false;
  path[length] = '\0';
  if (!Below(path, dir)) return false;
  const int log = open(flag, O_WRONLY | O_APPEND | O_CLOEXEC);  // unless it is gone
  if (log < 0) return false;
  path[length] = '\n';
  (void)!Next()(log, path, static_cast<std::size_t>(length) + 1);
  close(log);
  return true;
}

}  // namespace

extern "C" ssize_t write(int fd, const void* bytes, size_t count) {
  const int before = errno;
  if (Full(fd)) {
    errno = ENOSPC;
    return -1;
  }
  errno = before;
  return Next()(fd, bytes, count);
}
