"""Mining: questions in, all their duplicate pairs out; a job that goes on where it was killed."""
