import platformPackage from "../../package.json" with { type: "json" };

/** The release of this code, such as `0.1.0`. All packages have the same one. */
export const release: string = platformPackage.version;
