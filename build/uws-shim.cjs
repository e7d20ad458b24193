// Stands in for the package uWebSockets.js in the bundle: that one looks for its addon beside itself, ours is inside the binary.
module.exports = require('../src/native-addon.ts').loadUws();
