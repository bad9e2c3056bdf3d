import { playRow } from "./cells.ts";
import { userCancelsPaused, userPauses, userResets, userResumes } from "./rows/wishes.ts";

for (const row of [userResets, userPauses, userResumes, userCancelsPaused]) playRow(row);
