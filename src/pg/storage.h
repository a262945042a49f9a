// The files of a node (design, section 3, rule 9), in PGDATA:
//   orchestra/cluster              the marker; base backups and pg_rewind copy it
//   orchestra/saved_settings       see pg/saved_settings.h; copied likewise
//   orchestra/pgsql_tmp_vote/vote  the vote; the name of its directory keeps it out of both
// The directory is the anchor that binds a vote to its disk: the file is replaced at each write,
// the directory never is.
//
// Nothing here raises or throws anything but std::bad_alloc. Functions that return a string return
// "" or one sentence that says what failed, on which path, and the system's reason. They work
// relative to the current directory, which is PGDATA in every process of a server.
#pragma once
#include <string>

#include "core/durable.h"

namespace orchestra::pg {

// Both files, their anchor and this machine, as they are now. Allowed in the postmaster.
Surroundings ReadSurroundings();

// Makes the directories (0700) that are missing, durably, so that ReadSurroundings() tells inode
// and birth time, of which an Identity is made. The postmaster does so at each start. WriteVote()
// never makes them: a vote must not move to a directory that it is not bound to.
std::string PrepareStorage();

// Replaces the file atomically, and returns "" only once it and its directory entry are on disk.
// After an error either the old or the new bytes are there, whole, and the call may be repeated.
std::string WriteVote(const std::string& bytes);
std::string WriteMarker(const std::string& bytes);

// This node belongs to no cluster any more: marker first, then vote. "" also when there are none.
std::string RemoveMembership();

// The bytes of orchestra/saved_settings; *present is false, without error, where there is none.
std::string ReadSavedFile(bool* present, std::string* bytes);
std::string WriteSavedFile(const std::string& bytes);  // as WriteMarker
std::string RemoveSavedFile();                         // "" also when there is none

}  // namespace orchestra::pg
