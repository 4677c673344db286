<?php
# Written by aloft; changes are overwritten. What the description says is in
# settings.json beside this file, and stays a value: none of it is in here.
if ( !defined( 'MEDIAWIKI' ) ) {
	exit;
}
require_once "$IP/includes/PlatformSettings.php";

( static function () {
	$said = json_decode( file_get_contents( __DIR__ . '/settings.json' ), true, 16, JSON_THROW_ON_ERROR );
	foreach ( $said as $name => $value ) {
		$GLOBALS["wg$name"] = $value;
	}
} )();

# Whoever asks is answered under the name, the scheme and the port that were
# asked for: the wiki may be reached in several ways. A name without a port
# means the usual one, whatever the port is that some server in between uses.
if ( isset( $_SERVER['HTTP_HOST'] ) && !preg_match( '/:\d+$/', $_SERVER['HTTP_HOST'] ) ) {
	$_SERVER['SERVER_PORT'] = WebRequest::detectProtocol() === 'https' ? 443 : 80; # numbers: a text is not the usual port
}
if ( PHP_SAPI !== 'cli' ) {
	$wgServer = WebRequest::detectServer( false );
}
$wgAssumeProxiesUseDefaultProtocolPorts = false;

$wgResourceBasePath = $wgScriptPath;
$wgUploadPath = "$wgScriptPath/images";
$wgUsePathInfo = false;
$wgArticlePath = "$wgScriptPath/index.php?title=$1";

# Several web machines share what is in the database, sessions among it.
$wgDBtype = 'mysql';
$wgDBTableOptions = 'ENGINE=InnoDB, DEFAULT CHARSET=binary';
$wgMainCacheType = CACHE_DB;
$wgMessageCacheType = CACHE_DB;
$wgParserCacheType = CACHE_DB;
$wgSessionCacheType = CACHE_DB;

$wgEnableUploads = true;
$wgUseImageMagick = false;
$wgEnableEmail = false;
$wgPingback = false;
$wgAuthenticationTokenVersion = '1';
$wgDiff3 = '';

$wgDefaultSkin = 'vector';
wfLoadSkin( 'MonoBook' );
wfLoadSkin( 'Timeless' );
wfLoadSkin( 'Vector' );
