#include "pg/board_io.h"

#include <cstring>

#include "pg/clock.h"
#include "pg/shared.h"

namespace orchestra::pg {

namespace {
constexpr int kAttempts = 100;
}

static_assert(kMaxBoardBytes <= sizeof(SharedBoard::image));
static_assert(kMaxNoteBytes <= sizeof(SharedNoteSlot::image));

bool PublishBoard(const Board& board) {
  const std::string bytes = EncodeBoard(board);
  SharedBoard& place = shared->board;
  if (bytes.size() > sizeof place.image) return false;
  // Odd already: a predecessor died while it wrote.
  const uint64 writing = pg_atomic_read_u64(&place.generation) | 1;
  pg_atomic_write_u64(&place.generation, writing);
  pg_write_barrier();
  place.bytes = static_cast<uint32>(bytes.size());
  std::memcpy(place.image, bytes.data(), bytes.size());
  pg_write_barrier();
  pg_atomic_write_u64(&place.generation, writing + 1);
  return true;
}

std::optional<Board> ReadBoard() {
  SharedBoard& place = shared->board;
  std::string bytes;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const uint64 before = pg_atomic_read_u64(&place.generation);
    if (before == 0) return std::nullopt;
    if ((before & 1) != 0) continue;
    pg_read_barrier();
    bytes.assign(place.image, std::min<std::size_t>(place.bytes, sizeof place.image));
    pg_read_barrier();
    if (pg_atomic_read_u64(&place.generation) == before) return DecodeBoard(bytes);
  }
  return std::nullopt;
}

void PushNote(const Note& note) {
  const std::string bytes = EncodeNote(note);
  SharedNotes& ring = shared->notes;
  const uint64 sequence = pg_atomic_read_u64(&ring.newest) + 1;
  SharedNoteSlot& slot = ring.slots[sequence % kNoteSlots];
  if (bytes.size() > sizeof slot.image) return;
  pg_atomic_write_u64(&slot.sequence, 0);
  pg_write_barrier();
  slot.unix_us = UnixMicros();
  slot.bytes = static_cast<uint32>(bytes.size());
  std::memcpy(slot.image, bytes.data(), bytes.size());
  pg_write_barrier();
  pg_atomic_write_u64(&slot.sequence, sequence);
  pg_atomic_write_u64(&ring.newest, sequence);
}

std::vector<NumberedNote> ReadNotes(std::uint64_t first) {
  SharedNotes& ring = shared->notes;
  const uint64 newest = pg_atomic_read_u64(&ring.newest);
  const uint64 oldest = newest > kNoteSlots ? newest - kNoteSlots + 1 : 1;
  std::vector<NumberedNote> notes;
  for (uint64 sequence = std::max<uint64>(first, oldest); sequence <= newest; ++sequence) {
    SharedNoteSlot& slot = ring.slots[sequence % kNoteSlots];
    if (pg_atomic_read_u64(&slot.sequence) != sequence) continue;
    pg_read_barrier();
    const std::int64_t unix_us = slot.unix_us;
    const std::string bytes(slot.image, std::min<std::size_t>(slot.bytes, sizeof slot.image));
    pg_read_barrier();
    if (pg_atomic_read_u64(&slot.sequence) != sequence) continue;
    if (auto note = DecodeNote(bytes)) notes.push_back({sequence, unix_us, *std::move(note)});
  }
  return notes;
}

}  // namespace orchestra::pg
